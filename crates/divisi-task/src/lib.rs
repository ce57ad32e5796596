//! The task cell of the divisi async runtime.
//!
//! A task is a future with an outcome: one allocation, which this crate makes, runs, cancels, joins and
//! frees. It knows no queue and no thread. A [`Schedule`] is told when a task can run, and gets a
//! [`Runnable`] to run; everything else (workers, stealing, parking) is built on that by other crates,
//! without unsafe code.
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use divisi_task::{Cause, Registry, Runnable, Schedule, SpawnOptions, UnhandledPanic, spawn};
//!
//! /// The smallest scheduler: a queue that the main thread empties.
//! #[derive(Default)]
//! struct Queue(Mutex<Vec<Runnable>>);
//!
//! impl Schedule for Queue {
//!     fn schedule(&self, task: Runnable, _cause: Cause) {
//!         self.0.lock().unwrap().push(task);
//!     }
//!
//!     fn unhandled_panic(&self, panic: UnhandledPanic) {
//!         eprintln!("{panic}");
//!     }
//! }
//!
//! let registry = Registry::new(1);
//! let queue = Arc::new(Queue::default());
//! let start = |task| queue.schedule(task, Cause::Spawned);
//!
//! let (task, answer) = spawn(async { 6 * 7 }, queue.clone(), &registry, SpawnOptions::new())?;
//! start(task);
//! let asks = async move { println!("the answer is {}", answer.await.unwrap()) };
//! let (task, asks) = spawn(asks, queue.clone(), &registry, SpawnOptions::new().name("asks"))?;
//! start(task);
//!
//! loop {
//!     // The queue is unlocked before the task runs: it may schedule others.
//!     let Some(task) = queue.0.lock().unwrap().pop() else { break };
//!     task.run();
//! }
//! assert!(asks.is_finished() && registry.is_empty());
//! # Ok::<_, divisi_task::Closed>(())
//! ```
//!
//! # Who refers to a task
//!
//! ```text
//!   Registry ----------+                    +---------------------- JoinHandle (one)
//!   (until it ends)    |                    |   output, join waker
//!                      v                    v
//!                   +--------+---------+-----------------+
//!   Runnable -----> | Header | Trailer | future | output | <------- TaskRef, AbortHandle (any number)
//!   (at most one    +--------+---------+-----------------+          look, cancel
//!    that counts)      |          ^
//!                      v          +-------------------------------- Waker (any number)
//!                  Arc<scheduler>                                   wake
//! ```
//!
//! Each arrow into the task is one counted reference; the last one that goes frees it. The header's state
//! word (the private module `state` draws it) says who has which right besides:
//!
//! - a [`Runnable`] exists from the moment that a transition sets `SCHEDULED` on a task that is not running,
//!   until it is run, dropped, or overtaken by a shutdown. It carries the right to *claim* the task;
//! - the *claim* is the flag `RUNNING`. [`Runnable::run`], dropping a runnable, and [`TaskRef::shutdown`] get
//!   it; it ends with the poll that returns `Pending`, or with completion. The shutdown makes the runnable
//!   that it overtakes worthless: `RUNNING` and `COMPLETE` refuse its claim, and it only gives its reference
//!   back;
//! - the [`JoinHandle`] is the flag `JOIN_INTEREST`: only the handle clears it.
//!
//! # Who may touch what
//!
//! | field | may be read | may be written | why that is no race |
//! |---|---|---|---|
//! | header: id, parent, origin, vtable, scheduler | by every reference | never | immutable |
//! | header: state, wait site, cold | by every reference | by every reference | atomics; what `cold` points to is published by a compare-and-exchange and stays |
//! | stage while it has the future | by the claim | by the claim | `RUNNING` is set by one thread at a time; `to_idle` releases, `to_running` acquires |
//! | stage while it has the output | as written | before `COMPLETE`: by the claim. After: by the handle if `JOIN_INTEREST` was set at that moment, else by the completing thread | `to_complete` releases the output, the handle's load acquires it; interest is never set again, so exactly one of the two has the right |
//! | trailer: join waker | | `JOIN_WAKER` clear: by the handle. Set and `COMPLETE`: the completing thread wakes it, then clears the flag; without `JOIN_INTEREST` at that moment it drops it | the handle takes the flag back only before `COMPLETE`; each hand-over is a releasing and acquiring change of the word |
//! | trailer: owner, shard | by every reference | never | immutable; the shard lives at least until the task is removed from it |
//!
//! A task of [`spawn_local`] adds one rule: future and (unless it is `Send`) output are touched on the thread
//! that spawned it only. The thread's number, never used twice, is in the trailer; whoever gets the claim on
//! another thread leaves the future where it is, for ever.
//!
//! # Why nothing is used after it is freed
//!
//! A scheduler may run, complete and free a task before its own `schedule` returns. So every path that calls
//! it holds a reference besides the runnable's across the call, and with it the scheduler: the waker's (a
//! waker that is used up gives its own back afterwards), the one that `to_idle` makes for a yielded task, the
//! handle's in `cancel`. And the runner of a task that went idle touches nothing of it any more: `to_idle`
//! has given its reference back in the same step.
//!
//! # Why no wake-up is lost
//!
//! A wake-up sets `SCHEDULED` by a read-modify-write, always, even when it is set already, and releases what
//! its thread wrote before. If that comes before the runner's `to_running` in the order of the word's
//! changes, the poll that follows acquires it. If it comes after, `SCHEDULED` is (still, or again) set when
//! the runner's `to_idle` looks, and the task is scheduled again; or the task is idle, and the waker itself
//! schedules it. `tests/loom_task.rs` checks this and the rest of this page on all interleavings within its
//! bounds.
//!
//! # Panics
//!
//! A panic of a poll or of the future's destructor is the task's outcome; where there is another outcome
//! already, or nobody to read it, it goes to [`Schedule::unhandled_panic`], once. Every call into foreign
//! code is either wrapped so, or is the last thing that a function does.

mod abort;
pub mod budget;
mod cancel;
mod cell;
mod context;
pub mod current;
mod error;
pub mod freeze;
pub mod hand_over;
mod harness;
mod header;
mod id;
mod inbox;
mod join;
mod local;
mod on_done;
mod panic_trace;
pub mod permits;
mod raw;
mod registry;
mod runnable;
mod schedule;
mod slot;
mod spawn;
pub mod stable;
mod state;
mod sync;
mod task_ref;
pub mod value_cell;
pub mod wait_list;
mod waker;

pub use abort::AbortHandle;
pub use cancel::CancelReason;
pub use context::{Context, Key};
pub use error::{Closed, JoinError};
pub use id::TaskId;
pub use inbox::{Inbox, TakeAll};
pub use join::JoinHandle;
pub use panic_trace::capture as capture_panic_traces;
pub use registry::Registry;
pub use runnable::{Ran, Runnable};
pub use schedule::{Cause, Schedule, UnhandledPanic};
pub use slot::RunSlot;
pub use spawn::{Prepared, SpawnOptions, spawn, spawn_local};
pub use task_ref::{TaskRef, TaskState};
