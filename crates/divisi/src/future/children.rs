//! A set of futures that are polled inside one task, each only when it was woken.
//!
//! What `join_all`, `race::staggered`, `buffered` and `merge` are made of. Each future has a waker of its own, which notes its place in a list and wakes
//! the task; a poll of the set polls what is on that list and nothing else. So a task that waits for ten thousand futures does not poll all of them when one
//! has something to say.
//!
//! When a scope around it was cancelled, the set polls all its futures once, for each must hear of it, and then again only those whose
//! clean-ups wake them.
//!
//! A future's place is used again when the future is done. A waker that comes late then makes the new tenant be polled once in vain, which every future must bear.

use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use divisi_task::budget;
use divisi_task::freeze::{self, Mode};
use parking_lot::Mutex;
use slab::Slab;

/// The set. Dropping it drops the futures that are not done.
pub(crate) struct Children<F> {
    children: Slab<Child<F>>,
    woken: Arc<Woken>,
    /// In which mode all futures were last told to be polled.
    told: Mode,
}

struct Child<F> {
    future: Pin<Box<F>>,
    waker: Waker,
    noted: Arc<ChildWaker>,
}

/// Who was woken, and whom to wake for it.
#[derive(Default)]
struct Woken {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    places: VecDeque<usize>,
    /// Of the task that polls the set; taken when it is woken.
    task: Option<Waker>,
}

struct ChildWaker {
    place: usize,
    /// On the list, which has each place once.
    listed: AtomicBool,
    woken: Arc<Woken>,
}

impl Woken {
    /// The next place on the list; or the task's waker is kept, to be woken when there is one.
    fn next_or_wait(&self, task: &Waker) -> Option<usize> {
        let place = self.list.lock().places.pop_front();
        if place.is_some() {
            return place;
        }
        // A waker's clone and destructor are foreign code: outside the lock.
        let task = task.clone();
        let mut list = self.list.lock();
        let place = list.places.pop_front();
        let stale = match place {
            Some(_) => Some(task),
            None => list.task.replace(task),
        };
        drop(list);
        drop(stale);
        place
    }
}

impl Wake for ChildWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        // Acquire and release: what the waker's thread did before is seen by the poll that takes the place off the list.
        if self.listed.swap(true, Ordering::AcqRel) {
            return;
        }
        let task = {
            let mut list = self.woken.list.lock();
            list.places.push_back(self.place);
            list.task.take()
        };
        if let Some(task) = task {
            task.wake();
        }
    }
}

impl<F> Children<F> {
    pub(crate) fn len(&self) -> usize {
        self.children.len()
    }

    /// Drops all futures that are not done.
    pub(crate) fn clear(&mut self) {
        self.children.clear();
    }
}

impl<F: Future> Children<F> {
    pub(crate) fn new() -> Children<F> {
        Children {
            children: Slab::new(),
            woken: Arc::default(),
            told: Mode::Live,
        }
    }

    /// Adds a future, to be polled at the next poll of the set. Returns its place, which is its own until it is done.
    pub(crate) fn push(&mut self, future: F) -> usize {
        let entry = self.children.vacant_entry();
        let place = entry.key();
        let noted = Arc::new(ChildWaker {
            place,
            listed: AtomicBool::new(true),
            woken: self.woken.clone(),
        });
        entry.insert(Child {
            future: Box::pin(future),
            waker: Waker::from(noted.clone()),
            noted,
        });
        self.woken.list.lock().places.push_back(place);
        place
    }

    /// The place and output of a future that is done; `None` if the set is empty. Futures are polled in the order in which they were woken.
    ///
    /// Stops for others when the task's budget is spent, and when as many futures were polled as there are: one that wakes itself at each poll does not
    /// keep the task.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<(usize, F::Output)>> {
        if self.children.is_empty() {
            return Poll::Ready(None);
        }
        let mode = freeze::mode();
        if mode > self.told {
            self.wake_all();
        }
        self.told = mode;
        let mut polls = 0;
        while polls <= self.children.len() {
            // What is frozen has no budget, and what cleans up inside of it has one of its own.
            if mode == Mode::Live && !budget::has_remaining() {
                break;
            }
            let Some(place) = self.woken.next_or_wait(cx.waker()) else {
                return Poll::Pending;
            };
            // Nobody has it any more: no poll, so that in a last try each future has its own.
            let Some(child) = self.children.get_mut(place) else {
                continue;
            };
            polls += 1;
            // Before the poll: a wake-up during it counts.
            child.noted.listed.swap(false, Ordering::AcqRel);
            let polled = child
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&child.waker));
            if let Poll::Ready(output) = polled {
                drop(self.children.remove(place));
                return Poll::Ready(Some((place, output)));
            }
        }
        cx.waker().wake_by_ref();
        Poll::Pending
    }

    /// Puts all on the list, without waking the task.
    fn wake_all(&mut self) {
        let mut list = self.woken.list.lock();
        for (place, child) in &self.children {
            if !child.noted.listed.swap(true, Ordering::AcqRel) {
                list.places.push_back(place);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::future::poll_fn;
    use std::sync::atomic::AtomicUsize;

    fn poll<F: Future>(set: &mut Children<F>) -> Poll<Option<(usize, F::Output)>> {
        set.poll_next(&mut Context::from_waker(Waker::noop()))
    }

    #[test]
    fn only_the_woken_future_is_polled() {
        let polls: Vec<_> = (0..100).map(|_| AtomicUsize::new(0)).collect();
        let wakers: Vec<_> = (0..100).map(|_| Mutex::new(None)).collect();
        let mut set = Children::new();
        for n in 0..100 {
            let (polls, waker) = (&polls[n], &wakers[n]);
            set.push(poll_fn(move |cx| {
                *waker.lock() = Some(cx.waker().clone());
                if polls.fetch_add(1, Ordering::Relaxed) == 0 {
                    return Poll::Pending;
                }
                Poll::Ready(n)
            }));
        }
        assert!(poll(&mut set).is_pending());
        for n in [70, 3] {
            let waker = wakers[n].lock().clone().unwrap();
            waker.wake_by_ref();
            waker.wake();
        }
        assert_eq!(poll(&mut set), Poll::Ready(Some((70, 70))));
        assert_eq!(poll(&mut set), Poll::Ready(Some((3, 3))));
        assert!(poll(&mut set).is_pending());
        for (n, polls) in polls.iter().enumerate() {
            let expected = if n == 70 || n == 3 { 2 } else { 1 };
            assert_eq!(polls.load(Ordering::Relaxed), expected, "future {n}");
        }
        assert_eq!(set.len(), 98);
    }

    #[test]
    fn a_late_waker_of_a_place_polls_the_new_tenant_in_vain() {
        let waker = Mutex::new(None);
        let done = AtomicBool::new(false);
        let mut set = Children::new();
        let future = |ready: bool| {
            let (waker, done) = (&waker, &done);
            poll_fn(move |cx| {
                *waker.lock() = Some(cx.waker().clone());
                if ready || done.load(Ordering::Relaxed) {
                    Poll::Ready(())
                } else {
                    Poll::Pending
                }
            })
        };
        let first = set.push(future(true));
        assert_eq!(poll(&mut set), Poll::Ready(Some((first, ()))));
        let late: Waker = waker.lock().take().unwrap();
        let second = set.push(future(false));
        assert_eq!(first, second);
        assert!(poll(&mut set).is_pending());
        late.wake();
        assert!(poll(&mut set).is_pending());
        done.store(true, Ordering::Relaxed);
        waker.lock().take().unwrap().wake();
        assert_eq!(poll(&mut set), Poll::Ready(Some((second, ()))));
        assert_eq!(poll(&mut set), Poll::Ready(None));
    }
}
