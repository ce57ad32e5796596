//! Running several futures inside one task.
//!
//! | | waits for | the others |
//! |---|---|---|
//! | [`join!`](crate::join) | all | |
//! | [`try_join!`](crate::try_join) | all, or the first error | are dropped at an error |
//! | [`select!`](crate::select) | the first whose pattern matches | are dropped before the chosen arm runs |
//! | [`join_all`], [`try_join_all`] | as these, for any number of futures of one type | are cancelled at an error, and their clean-ups awaited |
//! | [`race`](fn@race), [`or`] | the first of two with one type of output | are dropped |
//! | [`race::staggered`] | the first success of attempts that start one after the other | are cancelled, and their clean-ups awaited |
//!
//! All of these run in the task that awaits them, on one core; the functions for any number of futures allocate each of them, the others allocate nothing. [`spawn`](crate::spawn) and task groups are for
//! work that shall run in parallel.
//!
//! The functions [`or`], [`race()`], [`zip`], [`try_zip`], [`poll_once`] and [`block_on`](futures_lite::future::block_on)'s relatives come from
//! [`futures_lite`]; they know no runtime and work in any.
//!
//! ```
//! use divisi::future::race;
//!
//! # divisi::run(async {
//! assert_eq!(race(async { 1 }, std::future::pending()).await, 1);
//! # });
//! ```

pub(crate) mod children;
mod ext;
mod gather;
mod join;
#[doc(hidden)]
pub mod macro_support;
mod maybe_done;
pub mod race;
mod select;

pub use ext::{FutureExt, Named};
pub use futures_lite::future::{
    Or, PollOnce, Race, TryZip, Zip, or, poll_once, race, try_zip, zip,
};
pub use gather::{JoinAll, TryJoinAll, join_all, try_join_all};
pub use std::future::{Future, IntoFuture, Pending, PollFn, Ready, pending, poll_fn, ready};
