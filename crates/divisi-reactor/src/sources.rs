//! Which sources a reactor watches, found by the token that an event carries.
//!
//! A token is a slab key and a generation. An event may be taken from the kernel just before its
//! source is deregistered and looked up just after, when the key may already belong to another
//! source; the generation differs then and the event is dropped. Nothing is lost by that: a source
//! that moved is registered with its new reactor, which reports what is ready now.

use crate::error::ReactorError;
use crate::io_state::IoState;
use crate::readiness::Ready;
use crate::sys::Token;
use parking_lot::Mutex;
use slab::Slab;
use std::sync::Arc;
use std::task::Waker;

/// Tokens fit a `usize`, which is what `polling` can carry.
const KEY_BITS: u32 = if usize::BITS >= 64 { 32 } else { 20 };
const GENERATION_BITS: u32 = if usize::BITS >= 64 { 32 } else { 12 };
/// Two keys below the limit stay unused, so that no token collides with the drivers' own.
const MAX_KEY: u64 = (1 << KEY_BITS) - 3;

fn token(key: usize, generation: u32) -> Token {
    Token(u64::from(generation) << KEY_BITS | key as u64)
}

fn key(token: Token) -> usize {
    (token.0 & ((1 << KEY_BITS) - 1)) as usize
}

#[derive(Debug)]
pub(crate) struct Sources(Mutex<Registry>);

#[derive(Debug)]
struct Registry {
    entries: Slab<Entry>,
    /// Counts registrations, so that a reused key makes a new token.
    generation: u32,
    closed: bool,
}

#[derive(Debug)]
struct Entry {
    token: Token,
    state: Arc<IoState>,
}

impl Sources {
    pub(crate) fn new() -> Sources {
        Sources(Mutex::new(Registry {
            entries: Slab::new(),
            generation: 0,
            closed: false,
        }))
    }

    /// Makes room for a source and says by which token its events are to come.
    pub(crate) fn insert(&self, state: Arc<IoState>) -> Result<Token, ReactorError> {
        let mut registry = self.0.lock();
        if registry.closed {
            return Err(ReactorError::ShutDown);
        }
        let generation = registry.generation;
        registry.generation = generation.wrapping_add(1) & ((1u64 << GENERATION_BITS) - 1) as u32;
        let entry = registry.entries.vacant_entry();
        if entry.key() as u64 > MAX_KEY {
            return Err(ReactorError::TooManySources);
        }
        let token = token(entry.key(), generation);
        entry.insert(Entry { token, state });
        Ok(token)
    }

    /// Forgets a source: events with its token are dropped from now on.
    pub(crate) fn remove(&self, token: Token) {
        let mut registry = self.0.lock();
        let entry = match registry.entries.get(key(token)) {
            Some(entry) if entry.token == token => registry.entries.remove(key(token)),
            _ => return,
        };
        // The last handle of the state may drop wakers, which is others' code.
        drop(registry);
        drop(entry);
    }

    /// Passes a batch of events to their sources under one lock; collects whom to wake. Returns how
    /// many events found their source.
    pub(crate) fn deliver(
        &self,
        events: impl Iterator<Item = (Token, Ready)>,
        both_directions: bool,
        wakers: &mut Vec<Waker>,
    ) -> usize {
        let registry = self.0.lock();
        let mut found = 0;
        for (token, ready) in events {
            if let Some(entry) = registry.entries.get(key(token)) {
                if entry.token == token {
                    entry.state.deliver(ready, both_directions, wakers);
                    found += 1;
                }
            }
        }
        found
    }

    /// No source may register any more. Marks those that did and collects their waiters.
    pub(crate) fn close(&self, wakers: &mut Vec<Waker>) {
        let mut registry = self.0.lock();
        registry.closed = true;
        for (_, entry) in &registry.entries {
            entry.state.shut_down(wakers);
        }
    }

    /// All sources that are registered now.
    pub(crate) fn states(&self) -> Vec<Arc<IoState>> {
        self.0
            .lock()
            .entries
            .iter()
            .map(|(_, entry)| entry.state.clone())
            .collect()
    }

    pub(crate) fn len(&self) -> usize {
        self.0.lock().entries.len()
    }
}

#[cfg(all(test, not(divisi_loom)))]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_a_forgotten_source_does_not_reach_the_next_one_with_its_key() {
        let sources = Sources::new();
        let first = Arc::new(IoState::new());
        let second = Arc::new(IoState::new());
        let stale = sources.insert(first).unwrap();
        sources.remove(stale);
        let fresh = sources.insert(second.clone()).unwrap();
        assert_eq!(key(stale), key(fresh), "the key is reused");

        let before = second.readiness().load();
        let mut wakers = Vec::new();
        let events = [(stale, Ready::READABLE)].into_iter();
        assert_eq!(sources.deliver(events, false, &mut wakers), 0);
        assert_eq!(second.readiness().load(), before);
        let events = [(fresh, Ready::READABLE)].into_iter();
        assert_eq!(sources.deliver(events, false, &mut wakers), 1);
        assert_ne!(second.readiness().load(), before);
    }

    #[test]
    fn removing_with_a_stale_token_leaves_the_new_owner_alone() {
        let sources = Sources::new();
        let stale = sources.insert(Arc::new(IoState::new())).unwrap();
        sources.remove(stale);
        sources.insert(Arc::new(IoState::new())).unwrap();
        sources.remove(stale);
        assert_eq!(sources.len(), 1);
    }

    #[test]
    fn generations_wrap_without_touching_the_key() {
        let sources = Sources::new();
        sources.0.lock().generation = ((1u64 << GENERATION_BITS) - 1) as u32;
        let last = sources.insert(Arc::new(IoState::new())).unwrap();
        let wrapped = sources.insert(Arc::new(IoState::new())).unwrap();
        assert_eq!((key(last), key(wrapped)), (0, 1));
        assert_ne!(last, wrapped);
    }

    #[test]
    fn a_closed_registry_takes_no_source() {
        let sources = Sources::new();
        let state = Arc::new(IoState::new());
        sources.insert(state.clone()).unwrap();
        sources.close(&mut Vec::new());
        assert!(state.readiness().load().is_shut_down());
        assert_eq!(
            sources.insert(Arc::new(IoState::new())),
            Err(ReactorError::ShutDown)
        );
    }
}
