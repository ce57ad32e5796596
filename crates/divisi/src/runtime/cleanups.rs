//! The clean-ups that a shutdown runs: those whose tasks it has cancelled, and that own all they need.

use std::future::poll_fn;
use std::panic::{AssertUnwindSafe, Location, catch_unwind};
use std::task::Poll;
use std::time::Instant;

use super::report::{Report, panic_message};
use super::{Inner, shutdown};
use crate::cleanup::orphan::Owned;
use crate::time::timeout;

/// Runs them on this thread, all at a time, as long as the limit of clean-ups says. Returns how many were cut off.
pub(super) fn run(inner: &Inner) -> usize {
    let end = shutdown::deadline(Instant::now(), inner.cleanup_deadline());
    let mut cut_off = 0;
    loop {
        let mut left = inner.orphans().take(false);
        if left.is_empty() {
            return cut_off;
        }
        let all = poll_fn(|cx| {
            left.retain_mut(|(cleanup, at)| {
                match catch_unwind(AssertUnwindSafe(|| cleanup.as_mut().poll(cx))) {
                    Ok(Poll::Pending) => return true,
                    Ok(Poll::Ready(None)) => {}
                    Ok(Poll::Ready(Some(failed))) => failed.report(at),
                    Err(panic) => {
                        let text = panic_message(&*panic).to_owned();
                        let mut report =
                            Report::new(format!("a clean-up set up at {at} panicked: {text}"));
                        report.panic = Some(panic);
                        inner.handler().handle(&report);
                    }
                }
                false
            });
            if left.is_empty() {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        });
        // Inside another runtime they cannot be run.
        let limited = timeout(end.saturating_duration_since(Instant::now()), all);
        let _ = inner.scheduler().block_on(limited);
        cut_off += give_up(inner, left);
    }
}

/// Those that the shutdown found when it could run none any more. Returns how many there were.
pub(super) fn refuse(inner: &Inner) -> usize {
    give_up(inner, inner.orphans().take(true))
}

/// Drops clean-ups that have not ended, and reports each. Returns how many there were.
fn give_up(inner: &Inner, cleanups: Vec<(Owned, &'static Location<'static>)>) -> usize {
    let count = cleanups.len();
    for (cleanup, at) in cleanups {
        drop(cleanup);
        inner.handler().handle(&Report::new(format!(
            "a clean-up set up at {at} was cut off by the shutdown of its runtime"
        )));
    }
    count
}
