//! Sleeping, deadlines and periodic work, on the clock of the runtime.
//!
//! * [`sleep`] and [`sleep_until`] wait for a point in time;
//! * [`interval`] and [`interval_at`] tick with a period;
//! * [`timeout`] and [`timeout_at`] give a future a limited time;
//! * [`Instant`] is a point in time on the runtime's clock; [`advance`] moves that clock where it is virtual.
//!
//! What holds for all of them: **a timer never fires early**, whatever the load. How late it fires depends on how soon a worker gets to it; an idle one
//! is there within some ten microseconds. A duration may be as long as [`Duration::MAX`](std::time::Duration::MAX): such a timer never fires.
//! Creating and dropping a timer that nobody awaits costs no entry anywhere: it is armed at the first poll that must wait.
//!
//! Awaiting any of them outside a divisi runtime panics, and the message says where the timer was created.
//!
//! ```
//! use std::time::Duration;
//! use divisi::time::{Instant, sleep, timeout};
//!
//! divisi::run(async {
//!     let start = Instant::now();
//!     sleep(Duration::from_millis(2)).await;
//!     assert!(start.elapsed() >= Duration::from_millis(2));
//!
//!     let late = timeout(Duration::from_millis(2), std::future::pending::<()>()).await;
//!     assert!(late.is_err());
//! });
//! ```

mod advance;
mod instant;
mod interval;
mod sleep;
mod timeout;

pub use self::advance::{Advance, advance};
pub use self::instant::Instant;
pub use self::interval::{Interval, MissedTickBehavior, Tick, interval, interval_at};
pub(crate) use self::sleep::poll_timer;
pub use self::sleep::{Sleep, sleep, sleep_until};
pub use self::timeout::{Elapsed, Timeout, timeout, timeout_at};
