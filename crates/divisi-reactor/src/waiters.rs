//! Who waits for a source, and which reactor they come from.
//!
//! Each direction has one *slot*, for the single task of a `poll_*` interface (the last waker
//! wins), and any number of *nodes*, one for each future that waits on its own. An event wakes all
//! of its direction: whoever is dropped before it tries again has taken nothing from the others.
//!
//! # No lost wake-up
//! A waiter enters its waker under the lock and looks at the readiness word afterwards. An event
//! sets the readiness word and takes the wakers under the lock afterwards. Whichever section of
//! the lock comes first: if the waiter's, the event finds its waker; if the event's, the lock
//! orders the event's bits before the waiter's look. Model: `tests/loom_io.rs`.

use crate::direction::Direction;
use crate::loom::Mutex;
use slab::Slab;
use std::task::Waker;

/// After so many waits in a row from the same other reactor a source moves there. Moving costs two
/// system calls, and a wake-up across workers about as much; four tolerates a task that is stolen
/// once and comes back. Plucked from thin air otherwise.
pub(crate) const MIGRATE_AFTER: u32 = 4;

/// Where a waiter leaves its waker.
#[derive(Debug)]
pub(crate) enum Place<'a> {
    /// The slot of its direction.
    Slot,
    /// A node of its own; the key is filled in by the first wait.
    Node(&'a mut Option<usize>),
}

/// What a wait means for the home of the source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Visit {
    /// The waiter's reactor watches the source.
    Home,
    /// Another reactor watches the source and goes on doing so.
    Guest,
    /// The source should be watched by the waiter's reactor from now on.
    Settle,
}

#[derive(Debug)]
pub(crate) struct Waiters(Mutex<Lists>);

#[derive(Debug)]
struct Lists {
    read: List,
    write: List,
    home: Home,
}

#[derive(Debug, Default)]
struct List {
    slot: Option<Waker>,
    /// Boxed: most sources never have a second waiter. A node without a waker has been woken.
    nodes: Option<Box<Slab<Option<Waker>>>>,
}

/// Reactors by identity; zero is none.
#[derive(Debug, Default)]
struct Home {
    current: u64,
    suitor: u64,
    /// Waits in a row from `suitor`.
    streak: u32,
}

impl Home {
    fn visit(&mut self, visitor: u64) -> Visit {
        if self.current == visitor {
            self.streak = 0;
            return Visit::Home;
        }
        if self.current == 0 {
            return Visit::Settle;
        }
        if self.suitor != visitor {
            self.suitor = visitor;
            self.streak = 0;
        }
        self.streak += 1;
        if self.streak < MIGRATE_AFTER {
            return Visit::Guest;
        }
        self.streak = 0;
        Visit::Settle
    }
}

impl Lists {
    fn list(&mut self, direction: Direction) -> &mut List {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl List {
    fn cell(&mut self, place: &mut Place<'_>) -> &mut Option<Waker> {
        match place {
            Place::Slot => &mut self.slot,
            Place::Node(key) => {
                let nodes = self.nodes.get_or_insert_default();
                let key = *key.get_or_insert_with(|| nodes.insert(None));
                &mut nodes[key]
            }
        }
    }

    fn take(&mut self, wakers: &mut Vec<Waker>) {
        wakers.extend(self.slot.take());
        if let Some(nodes) = &mut self.nodes {
            wakers.extend(nodes.iter_mut().filter_map(|(_, waker)| waker.take()));
        }
    }

    fn anybody(&self) -> bool {
        let waits = |nodes: &Slab<Option<Waker>>| nodes.iter().any(|(_, waker)| waker.is_some());
        self.slot.is_some() || self.nodes.as_deref().is_some_and(waits)
    }
}

impl Waiters {
    pub(crate) fn new() -> Waiters {
        Waiters(Mutex::new(Lists {
            read: List::default(),
            write: List::default(),
            home: Home::default(),
        }))
    }

    /// Leaves `waker` at `place`, and counts the visit of the reactor `visitor`.
    pub(crate) fn wait(
        &self,
        direction: Direction,
        place: &mut Place<'_>,
        waker: &Waker,
        visitor: u64,
    ) -> Visit {
        let mut lists = self.0.lock();
        let visit = lists.home.visit(visitor);
        let cell = lists.list(direction).cell(place);
        if !cell.as_ref().is_some_and(|old| old.will_wake(waker)) {
            // Cloning and dropping wakers is others' code: not under the lock.
            drop(lists);
            let new = Some(waker.clone());
            let mut lists = self.0.lock();
            let old = std::mem::replace(lists.list(direction).cell(place), new);
            // An evacuation between the two locks has not seen this waker: it must find a home itself.
            let homeless = lists.home.current == 0;
            drop(lists);
            drop(old);
            if homeless {
                return Visit::Settle;
            }
        }
        visit
    }

    /// A waiter with a node is done or gone.
    pub(crate) fn leave(&self, direction: Direction, key: usize) {
        let mut lists = self.0.lock();
        let old = match &mut lists.list(direction).nodes {
            Some(nodes) => nodes.try_remove(key),
            None => None,
        };
        drop(lists);
        drop(old);
    }

    /// Takes the wakers of the directions an event is for.
    pub(crate) fn take(&self, read: bool, write: bool, wakers: &mut Vec<Waker>) {
        let mut lists = self.0.lock();
        if read {
            lists.read.take(wakers);
        }
        if write {
            lists.write.take(wakers);
        }
    }

    /// In which directions somebody waits.
    pub(crate) fn waiting(&self) -> (bool, bool) {
        let lists = self.0.lock();
        (lists.read.anybody(), lists.write.anybody())
    }

    /// The source is watched by this reactor now (0: by none).
    pub(crate) fn settled(&self, home: u64) {
        let mut lists = self.0.lock();
        lists.home = Home {
            current: home,
            ..Home::default()
        };
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;
    use Direction::{Read, Write};

    fn taken(waiters: &Waiters, read: bool, write: bool) -> usize {
        let mut wakers = Vec::new();
        waiters.take(read, write, &mut wakers);
        wakers.len()
    }

    #[test]
    fn an_event_takes_everybody_of_its_direction_once() {
        let waiters = Waiters::new();
        let (mut a, mut b) = (None, None);
        waiters.wait(Read, &mut Place::Slot, Waker::noop(), 1);
        waiters.wait(Read, &mut Place::Node(&mut a), Waker::noop(), 1);
        waiters.wait(Read, &mut Place::Node(&mut b), Waker::noop(), 1);
        waiters.wait(Write, &mut Place::Slot, Waker::noop(), 1);
        assert_eq!(waiters.waiting(), (true, true));
        assert_eq!(taken(&waiters, true, false), 3);
        assert_eq!(taken(&waiters, true, false), 0);
        assert_eq!(waiters.waiting(), (false, true));
        assert_eq!(taken(&waiters, true, true), 1);
    }

    #[test]
    fn a_waiter_that_left_is_not_woken_and_its_node_is_reused() {
        let waiters = Waiters::new();
        let (mut a, mut b) = (None, None);
        waiters.wait(Read, &mut Place::Node(&mut a), Waker::noop(), 1);
        waiters.leave(Read, a.unwrap());
        assert_eq!(taken(&waiters, true, true), 0);
        waiters.wait(Read, &mut Place::Node(&mut b), Waker::noop(), 1);
        assert_eq!(a, b);
    }

    #[test]
    fn a_source_without_a_home_settles_at_once() {
        let waiters = Waiters::new();
        let wait = |visitor| waiters.wait(Read, &mut Place::Slot, Waker::noop(), visitor);
        assert_eq!(wait(1), Visit::Settle);
        waiters.settled(1);
        assert_eq!(wait(1), Visit::Home);
    }

    #[test]
    fn a_source_moves_after_enough_waits_in_a_row_from_one_other_reactor() {
        let waiters = Waiters::new();
        let wait = |visitor| waiters.wait(Read, &mut Place::Slot, Waker::noop(), visitor);
        waiters.settled(1);
        for _ in 1..MIGRATE_AFTER {
            assert_eq!(wait(2), Visit::Guest);
        }
        assert_eq!(wait(1), Visit::Home, "a wait at home starts the count anew");
        for _ in 1..MIGRATE_AFTER {
            assert_eq!(wait(2), Visit::Guest);
        }
        assert_eq!(wait(3), Visit::Guest, "so does a wait elsewhere");
        for _ in 1..MIGRATE_AFTER {
            assert_eq!(wait(2), Visit::Guest);
        }
        assert_eq!(wait(2), Visit::Settle);
    }
}
