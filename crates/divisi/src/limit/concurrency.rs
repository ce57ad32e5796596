//! So many at once.

use std::fmt;
use std::panic::Location;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use divisi_task::wait_list::{Locked, Queue, Turn, WaitList, Waiter, Wakers};
use divisi_task::{JoinHandle, current};

use super::adaptive::{Adaptation, Adaptive};
use crate::context;
use crate::time::Instant;

const LANE: usize = 0;

/// Lets so many be under way at once: a number that is fixed, is changed by hand, or adapts itself to what the other side can bear.
///
/// Clones share the limit.
///
/// # Fairness
///
/// First come, first served. Nobody overtakes who waits.
///
/// # Adapting
///
/// [`adaptive`](Self::adaptive) finds the number by itself, by the [`Adaptation`] of your choice: it watches how long the slots are held and what comes of
/// them. So hold a slot exactly while the work is under way, and tell by [`Slot::overloaded`] when the other side refused or timed out.
///
/// # Examples
///
/// ```
/// use divisi::limit::Concurrency;
///
/// divisi::run(async {
///     let downloads = Concurrency::new(2);
///     let one = downloads.acquire().await;
///     let other = downloads.acquire().await;
///     assert!(downloads.try_acquire().is_none());
///     drop(one);
///     assert_eq!(downloads.in_use(), 1);
///     downloads.set_limit(1);
///     assert!(downloads.try_acquire().is_none());
///     drop(other);
///     assert!(downloads.try_acquire().is_some());
/// });
/// ```
///
/// ## A bound for one kind of blocking or computing work
///
/// The pools have bounds for all of their jobs together. With this, those of one kind take no more than their share:
///
/// ```
/// use divisi::limit::Concurrency;
///
/// divisi::run(async {
///     let database = Concurrency::new(4);
///     let rows = database.spawn_blocking(|| 42).await;
///     let digest = database.offload(|| (1..=10u64).product::<u64>()).await;
///     assert_eq!((rows.await.unwrap(), digest.await.unwrap()), (42, 3_628_800));
/// });
/// ```
#[derive(Clone)]
pub struct Concurrency {
    gate: Arc<Gate>,
}

struct Gate {
    list: WaitList<State, Ticket>,
}

struct State {
    limit: usize,
    in_use: usize,
    adaptive: Option<Adaptive>,
}

#[derive(Debug)]
struct Ticket;

impl State {
    fn has_room(&self) -> bool {
        self.in_use < self.limit
    }
}

impl Gate {
    /// Lets in who has waited longest, as long as there is room.
    fn serve(mut locked: Locked<'_, State, Ticket>, wakers: &mut Wakers) {
        while locked.has_room() && locked.choose(LANE, wakers) {
            locked.in_use += 1;
        }
    }

    fn release(&self, outcome: Outcome, took: Duration) {
        let mut wakers = Wakers::new();
        let mut locked = self.list.lock();
        let State {
            limit,
            in_use,
            adaptive,
        } = &mut *locked;
        if let (Some(adaptive), Some(overloaded)) = (adaptive, outcome.overloaded()) {
            *limit = adaptive.next_limit(*limit, *in_use, took, overloaded);
        }
        *in_use -= 1;
        Self::serve(locked, &mut wakers);
    }
}

impl Queue for Gate {
    type State = State;
    type Ticket = Ticket;

    fn waiters(&self) -> &WaitList<State, Ticket> {
        &self.list
    }

    fn give_up(&self, _: &mut Ticket, chosen: bool) {
        if chosen {
            let mut wakers = Wakers::new();
            let mut locked = self.list.lock();
            locked.in_use -= 1;
            Self::serve(locked, &mut wakers);
        }
    }
}

/// What came of the work in a slot.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    Done,
    Overloaded,
    Unknown,
}

impl Outcome {
    fn overloaded(self) -> Option<bool> {
        match self {
            Self::Done => Some(false),
            Self::Overloaded => Some(true),
            Self::Unknown => None,
        }
    }
}

impl Concurrency {
    /// So many at once.
    ///
    /// # Panics
    ///
    /// If that is none.
    #[track_caller]
    #[must_use]
    pub fn new(limit: usize) -> Concurrency {
        Concurrency::with(limit, None)
    }

    /// As many at once as is found to be good.
    ///
    /// # Panics
    ///
    /// If the adaptation's numbers make no sense: see there.
    ///
    /// # Examples
    ///
    /// ```
    /// use divisi::limit::{Aimd, Concurrency};
    ///
    /// divisi::run(async {
    ///     let upstream = Concurrency::adaptive(Aimd::default());
    ///     let before = upstream.limit();
    ///     let slot = upstream.acquire().await;
    ///     slot.overloaded(); // The answer was a 503.
    ///     assert!(upstream.limit() < before);
    /// });
    /// ```
    #[track_caller]
    #[must_use]
    pub fn adaptive(adaptation: impl Into<Adaptation>) -> Concurrency {
        let adaptive = Adaptive::new(adaptation.into());
        Concurrency::with(adaptive.first_limit(), Some(adaptive))
    }

    #[track_caller]
    fn with(limit: usize, adaptive: Option<Adaptive>) -> Concurrency {
        assert!(limit > 0, "a limit of none would let nobody in, ever");
        Concurrency {
            gate: Arc::new(Gate {
                list: WaitList::new(State {
                    limit,
                    in_use: 0,
                    adaptive,
                }),
            }),
        }
    }

    /// Waits until there is a slot, and takes it.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future loses the place in the line and nothing else. A slot that it was given already goes to the next.
    #[track_caller]
    pub fn acquire(&self) -> AcquireSlot {
        AcquireSlot {
            waiter: Waiter::new(self.gate.clone(), Ticket),
            awaited_at: Location::caller(),
        }
    }

    /// Takes a slot if there is one and nobody waits.
    pub fn try_acquire(&self) -> Option<Slot> {
        let mut locked = self.gate.list.lock();
        if locked.waiting(LANE) != 0 || !locked.has_room() {
            return None;
        }
        locked.in_use += 1;
        drop(locked);
        Some(Slot::new(self.gate.clone()))
    }

    /// Waits for a slot and runs `f` in it, on the threads of [`spawn_blocking`](crate::spawn_blocking). The slot is free when `f` has ended, also if
    /// the handle is gone, or when the job is cancelled before it began.
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops `f` unused.
    #[track_caller]
    #[expect(
        clippy::async_yields_async,
        reason = "the wait for the slot and the wait for the result are two"
    )]
    pub fn spawn_blocking<F, T>(&self, f: F) -> impl Future<Output = JoinHandle<T>> + use<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let slot = self.acquire();
        async move {
            let slot = slot.await.undecided();
            crate::spawn_blocking(move || slot.run(f))
        }
    }

    /// Waits for a slot and runs `f` in it, on the threads of [`offload`](crate::offload). The slot is free when `f` has ended, also if
    /// the handle is gone, or when the job is cancelled before it began: a task of its own frees it, shortly after that.
    ///
    /// # Panics
    ///
    /// If there is no runtime on this thread.
    ///
    /// # Cancel safety
    ///
    /// Dropping the future before it is ready drops `f` unused.
    #[track_caller]
    #[expect(
        clippy::async_yields_async,
        reason = "the wait for the slot and the wait for the result are two"
    )]
    pub fn offload<F, T>(&self, f: F) -> impl Future<Output = JoinHandle<T>> + use<F, T>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        let slot = self.acquire();
        async move {
            let handed_over = HandedOver(Some(slot.await.undecided()));
            crate::offload(move || handed_over.run(f))
        }
    }

    /// Changes the limit. Who is under way stays so: if there are more, nobody is let in until there is room.
    ///
    /// # Panics
    ///
    /// If that is none.
    #[track_caller]
    pub fn set_limit(&self, limit: usize) {
        assert!(limit > 0, "a limit of none would let nobody in, ever");
        let mut wakers = Wakers::new();
        let mut locked = self.gate.list.lock();
        locked.limit = limit;
        Gate::serve(locked, &mut wakers);
    }

    /// How many may be under way.
    pub fn limit(&self) -> usize {
        self.gate.list.lock().limit
    }

    /// How many are under way.
    pub fn in_use(&self) -> usize {
        self.gate.list.lock().in_use
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.gate.list.lock().waiting(LANE)
    }
}

pin_project_lite::pin_project! {
    /// The future of [`Concurrency::acquire`].
    #[must_use = "futures do nothing unless they are awaited"]
    pub struct AcquireSlot {
        #[pin]
        waiter: Waiter<Arc<Gate>>,
        awaited_at: &'static Location<'static>,
    }
}

impl Future for AcquireSlot {
    type Output = Slot;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Slot> {
        let this = self.project();
        let mut waiter = this.waiter;
        let charge = ready!(waiter.as_mut().poll_proceed(cx));
        let waits = match waiter.as_mut().poll_turn(cx) {
            Turn::Free => {
                let entered = waiter.as_mut().join(LANE, cx, |locked, _| {
                    let enters = locked.waiting(LANE) == 0 && locked.has_room();
                    enters.then(|| locked.in_use += 1)
                });
                entered.is_none()
            }
            Turn::Waiting => true,
            Turn::Chosen => {
                waiter.as_mut().accept();
                false
            }
        };
        if waits {
            current::note_wait(this.awaited_at);
            return Poll::Pending;
        }
        charge.made_progress();
        Poll::Ready(Slot::new(waiter.handle().clone()))
    }
}

/// A place among those who are under way. Dropping it frees it.
///
/// For an adaptive limit, dropping it says that the work is done as usual; a panic, or [`ignore`](Self::ignore), says nothing.
#[must_use = "dropping it frees the place at once"]
pub struct Slot {
    gate: Arc<Gate>,
    since: Instant,
    /// Held so long, if that is over.
    took: Option<Duration>,
    outcome: Outcome,
}

/// The slot of a job that runs on a computing thread. Such a thread may stand still for long, because others are more urgent; so it must not hold a lock that
/// workers take, and a task frees the slot instead. Spawning one does not wait for anything.
struct HandedOver(Option<Slot>);

impl HandedOver {
    fn run<T>(mut self, f: impl FnOnce() -> T) -> T {
        if let Some(slot) = &mut self.0 {
            slot.begin();
        }
        let value = f();
        if let Some(slot) = &mut self.0 {
            slot.outcome = Outcome::Done;
        }
        value
    }
}

impl Drop for HandedOver {
    fn drop(&mut self) {
        if let Some(mut slot) = self.0.take() {
            slot.took = Some(slot.since.elapsed());
            // Without a runtime there are no workers to wait, either.
            if let Some(runtime) = context::try_handle() {
                drop(runtime.spawn(async move { drop(slot) }));
            }
        }
    }
}

impl Slot {
    fn new(gate: Arc<Gate>) -> Slot {
        Slot {
            gate,
            since: Instant::now(),
            took: None,
            outcome: Outcome::Done,
        }
    }

    /// Makes it say nothing unless `done` is called.
    pub(crate) fn undecided(mut self) -> Slot {
        self.outcome = Outcome::Unknown;
        self
    }

    /// Frees the place of work that is done as usual.
    pub(crate) fn done(mut self) {
        self.outcome = Outcome::Done;
    }

    /// The work begins only now: what was before does not count.
    pub(crate) fn begin(&mut self) {
        self.since = Instant::now();
    }

    /// Runs a job of a pool.
    fn run<T>(mut self, f: impl FnOnce() -> T) -> T {
        self.begin();
        let value = f();
        self.done();
        value
    }

    /// Frees the place, and tells an adaptive limit that the other side had too much to do: it refused, or did not answer in time.
    pub fn overloaded(mut self) {
        self.outcome = Outcome::Overloaded;
    }

    /// Frees the place, and tells an adaptive limit nothing: the time that it was held for means nothing.
    pub fn ignore(mut self) {
        self.outcome = Outcome::Unknown;
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        if std::thread::panicking() && matches!(self.outcome, Outcome::Done) {
            self.outcome = Outcome::Unknown;
        }
        let took = self.took.unwrap_or_else(|| self.since.elapsed());
        self.gate.release(self.outcome, took);
    }
}

impl fmt::Debug for Concurrency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Concurrency")
            .field("limit", &self.limit())
            .field("in_use", &self.in_use())
            .field("waiting", &self.waiting())
            .finish()
    }
}

impl fmt::Debug for AcquireSlot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("AcquireSlot")
            .field("awaited_at", &self.awaited_at)
            .finish_non_exhaustive()
    }
}

impl fmt::Debug for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Slot")
            .field("since", &self.since)
            .finish_non_exhaustive()
    }
}
