//! Where divisi differs from asyncio on purpose: the one table. `docs/src/guide/coming-from-asyncio.md` shows it too, and a test holds the two together.

/// A deliberate difference.
pub(crate) struct Difference {
    /// How `runner.py` calls it.
    pub(crate) row: &'static str,
    pub(crate) asyncio: &'static str,
    pub(crate) divisi: &'static str,
    pub(crate) how: How,
}

/// How the oracle deals with it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// `runner.py` says in asyncio what divisi says in a word, so that the rest can be compared.
    Translated,
    /// From the instant on in which asyncio does otherwise, the traces are not compared.
    Exempt,
}

use How::{Exempt, Translated};

pub(crate) const DIFFERENCES: &[Difference] = &[
    Difference {
        row: "shield",
        asyncio: "`shield` lets go of what it shields when the caller is cancelled",
        divisi: "the caller stays until the end",
        how: Translated,
    },
    Difference {
        row: "clean-up",
        asyncio: "a second cancel interrupts what is awaited in `finally`",
        divisi: "clean-ups run behind a shield, with a limit",
        how: Translated,
    },
    Difference {
        row: "clean-up's error",
        asyncio: "an error in `finally` replaces what the body came to, a cancel too",
        divisi: "it goes to the exception handler, and what the body came to counts",
        how: Translated,
    },
    Difference {
        row: "at once",
        asyncio: "a cancel reaches the children of a group when it has come out through the body, after the body's clean-ups",
        divisi: "it reaches all that is inside at once, and a group in a cancelled scope takes no more tasks",
        how: Translated,
    },
    Difference {
        row: "ownership",
        asyncio: "cancelling a task cancels the task that it awaits",
        divisi: "awaiting a handle does not own the task",
        how: Translated,
    },
    Difference {
        row: "ready",
        asyncio: "a cancel beats a value that comes in the same instant",
        divisi: "the value wins, and the next thing that must wait stands still",
        how: Exempt,
    },
    Difference {
        row: "cut",
        asyncio: "a group that was cancelled by hand returns, though a scope around it was cancelled too",
        divisi: "it does not return if one of its tasks was cut off; the scope reports",
        how: Exempt,
    },
    Difference {
        row: "swallow",
        asyncio: "a time limit that is entered with a cancel under way can take that for its own",
        divisi: "a cancel cannot be swallowed",
        how: Exempt,
    },
    Difference {
        row: "expired",
        asyncio: "a time limit expires although its task is being cancelled by others",
        divisi: "what stands still does not look at the clock",
        how: Exempt,
    },
    Difference {
        row: "zero",
        asyncio: "of two limits that are over when they begin the outer one reports",
        divisi: "a limit counts from the first await that must wait, which the inner one comes to first",
        how: Exempt,
    },
    Difference {
        row: "instant",
        asyncio: "news of a failure arrive a turn of the loop later",
        divisi: "they arrive at once, so that what was spawned in the same instant may never begin",
        how: Exempt,
    },
];
