//! How many runners serve the queue: the claim/leave protocol.
//!
//! A *runner* is a loop on a compute thread that takes jobs until there are none. There are at most `limit` of them,
//! counting those that were asked for and have not begun. Whoever makes work visible tries to [claim](Admission::claim)
//! one more; a runner that finds no work [leaves](Admission::leave).
//!
//! # No job is stranded
//!
//! Claim: that a queued job implies a runner that has not left, or a claim in progress.
//!
//! - *Publisher* (a submitter after its push; a runner that has moved jobs from the inbox to the ordered queue and
//!   leaves some there): **P1** makes the job visible, **P2** `fence(SeqCst)`, **P3** reads the number of runners and
//!   claims one more if there are fewer than `limit`.
//! - *Leaver*: **L1** lowers the number, **L2** `fence(SeqCst)`, **L3** looks for work (inbox and ordered queue), and if
//!   there is some, claims again as a publisher would.
//!
//! The two fences are totally ordered. If P2 comes first, L3 sees the job, or somebody else has taken it or moved it on
//! (and in moving it on became its publisher); so the leaver stays, unless others have claimed every runner that the
//! limit allows, and each of these is a leaver later. If L2 comes first, P3 sees the lowered number, and claims; it
//! fails only if others have claimed in between up to the limit, and the same holds for them. Claims are finite in
//! number while jobs are, so the chain of "somebody else" ends at a runner that looks after P1.
//!
//! A claim that cannot be served at once (a *bounce*, see [`dispatcher`](super::dispatcher)) is kept, not dropped, so it
//! counts as a claim in progress.
//!
//! Models: `tests/loom_admission.rs`, which compiles this file with loom's atomics.

use crate::sync::atomic::{
    AtomicUsize,
    Ordering::{AcqRel, Relaxed, SeqCst},
    fence,
};

#[derive(Debug)]
pub(crate) struct Admission {
    runners: AtomicUsize,
    limit: usize,
}

impl Admission {
    pub(crate) fn new(limit: usize) -> Self {
        Self {
            runners: AtomicUsize::new(0),
            limit,
        }
    }

    /// Claims one more runner, after work was made visible. If it says yes, the caller has to see to it that a runner
    /// begins.
    #[must_use = "a claim that no runner takes up is lost to the pool"]
    pub(crate) fn claim(&self) -> bool {
        // Pairs with the fence in `leave`.
        fence(SeqCst);
        let mut runners = self.runners.load(Relaxed);
        while runners < self.limit {
            match self
                .runners
                .compare_exchange_weak(runners, runners + 1, AcqRel, Relaxed)
            {
                Ok(_) => return true,
                Err(now) => runners = now,
            }
        }
        false
    }

    /// A runner has found no work. Returns whether it must look again, because there is work now.
    #[must_use = "a runner that has to stay must look for work again"]
    pub(crate) fn leave(&self, has_work: impl FnOnce() -> bool) -> bool {
        let before = self.runners.fetch_sub(1, AcqRel);
        debug_assert!(before > 0, "a runner left that was never claimed");
        // Pairs with the fence in `claim`.
        fence(SeqCst);
        has_work() && self.claim()
    }

    /// Takes claims back whose runners will never begin. The caller disposes of the queued jobs after that.
    pub(crate) fn withdraw(&self, claims: usize) {
        self.runners.fetch_sub(claims, AcqRel);
        // Pairs with the fence in `claim`, as that in `leave`: a submitter that found no room for its claim has its job disposed of.
        fence(SeqCst);
    }

    /// Runners that were claimed and have not left.
    pub(crate) fn runners(&self) -> usize {
        self.runners.load(Relaxed)
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit
    }
}
