//! The handles in a set, and which of them have something to say.

use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker, ready};

use divisi_task::freeze::{self, Mode};
use divisi_task::{JoinHandle, budget};
use parking_lot::Mutex;
use slab::Slab;

use super::Ended;
use crate::context;
use crate::runtime::{ExceptionHandler, Handle, Report};

pub(super) struct Members<T> {
    running: Slab<Member<T>>,
    /// Results that were seen and not yet given out: those that a `wait` has passed on its way.
    ended: VecDeque<Ended<T>>,
    /// Where a panic among them was seen; it hears of it if nobody else does.
    runtime: Option<Handle>,
    woken: Arc<Woken>,
}

struct Member<T> {
    handle: JoinHandle<T>,
    waker: Waker,
}

// Nothing of a result is ever pinned.
impl<T> Unpin for Members<T> {}

/// What the tasks' wakers reach. It knows no `T`, so that members may be local to a thread.
#[derive(Default)]
struct Woken {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    places: VecDeque<usize>,
    /// Whoever awaits the set; taken when it is woken.
    waiter: Option<Waker>,
}

/// The join waker of one member. It may be woken in vain, and after another member has taken the place.
struct MemberWaker {
    place: usize,
    woken: Arc<Woken>,
}

impl Woken {
    /// Keeps the waker, to be woken when a member is; the caller looks once more for one that was before.
    fn wait(&self, waker: &Waker) {
        // A waker's clone and destructor are foreign code: outside the lock.
        let waker = waker.clone();
        let stale = self.list.lock().waiter.replace(waker);
        drop(stale);
    }
}

impl Wake for MemberWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waiter = {
            let mut list = self.woken.list.lock();
            list.places.push_back(self.place);
            list.waiter.take()
        };
        if let Some(waiter) = waiter {
            waiter.wake();
        }
    }
}

impl<T> Members<T> {
    pub(super) fn new() -> Members<T> {
        Members {
            running: Slab::new(),
            ended: VecDeque::new(),
            runtime: None,
            woken: Arc::default(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.running.len() + self.ended.len()
    }

    pub(super) fn ended(&self) -> usize {
        self.ended.len()
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &JoinHandle<T>> {
        self.running.iter().map(|(_, member)| &member.handle)
    }

    pub(super) fn clear(&mut self) {
        self.running.clear();
        self.forget_ended();
    }

    /// The results that were set aside.
    pub(super) fn seen(&self) -> impl Iterator<Item = &Ended<T>> {
        self.ended.iter()
    }

    /// Keeps a result for the next who asks.
    pub(super) fn set_aside(&mut self, ended: Ended<T>) {
        if is_panic(&ended) && self.runtime.is_none() {
            self.runtime = context::try_handle();
        }
        self.ended.push_back(ended);
    }

    /// Drops the results that were set aside. A panic among them goes to the exception handler, as that of a task whose handle is dropped.
    fn forget_ended(&mut self) {
        while let Some(ended) = self.ended.pop_front() {
            let (_, Err(error)) = ended else { continue };
            if !error.is_panic() {
                continue;
            }
            let message = format!("nobody has read what became of a task in a set: {error}");
            let report = Report::of_panic(message, error);
            match &self.runtime {
                Some(runtime) => runtime.report(&report),
                None => ExceptionHandler::default().handle(&report),
            }
        }
    }

    pub(super) fn insert(&mut self, handle: JoinHandle<T>) {
        let entry = self.running.vacant_entry();
        let place = entry.key();
        let waker = Waker::from(Arc::new(MemberWaker {
            place,
            woken: self.woken.clone(),
        }));
        let member = entry.insert(Member { handle, waker });
        // Leaves the waker with the task; one that has ended says so at once. Its result stays with it, so that a panic that nobody reads is reported.
        if member.poll_ended().is_ready() {
            member.waker.wake_by_ref();
        }
    }

    /// A member that has ended and whose result nobody has seen. It is no member any more.
    fn take_woken(&mut self) -> Option<Ended<T>> {
        loop {
            let place = self.woken.list.lock().places.pop_front()?;
            let Some(member) = self.running.get_mut(place) else {
                continue;
            };
            if let Poll::Ready(result) = member.poll() {
                let member = self.running.remove(place);
                return Some((member.handle.id(), result));
            }
        }
    }

    pub(super) fn try_next(&mut self) -> Option<Ended<T>> {
        self.ended.pop_front().or_else(|| self.take_woken())
    }

    /// As [`poll_next`](Self::poll_next), past the results that were set aside.
    pub(super) fn poll_unseen(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended<T>>> {
        let charge = ready!(budget::poll_proceed(cx));
        if let Some(ended) = self.take_woken() {
            charge.made_progress();
            return Poll::Ready(Some(ended));
        }
        if self.running.is_empty() {
            return Poll::Ready(None);
        }
        self.woken.wait(cx.waker());
        // A member may have ended between the look and the store.
        match self.take_woken() {
            Some(ended) => {
                charge.made_progress();
                Poll::Ready(Some(ended))
            }
            None => Poll::Pending,
        }
    }

    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ended<T>>> {
        match self.ended.pop_front() {
            Some(ended) => Poll::Ready(Some(ended)),
            None => self.poll_unseen(cx),
        }
    }

    /// Waits until all have ended, and leaves their outcomes unread: those that nobody may lose go to the exception handler.
    pub(super) async fn settle(&mut self) {
        self.forget_ended();
        poll_fn(|cx| {
            loop {
                let charge = ready!(budget::poll_proceed(cx));
                let place = self.woken.list.lock().places.pop_front();
                if let Some(place) = place {
                    charge.made_progress();
                    let ended = self.running.get(place);
                    if ended.is_some_and(|member| member.handle.is_finished()) {
                        drop(self.running.remove(place));
                    }
                    continue;
                }
                if self.running.is_empty() {
                    return Poll::Ready(());
                }
                self.woken.wait(cx.waker());
                // As above.
                if self.woken.list.lock().places.is_empty() {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

impl<T> Drop for Members<T> {
    fn drop(&mut self) {
        self.forget_ended();
    }
}

fn is_panic<T>((_, result): &Ended<T>) -> bool {
    matches!(result, Err(error) if error.is_panic())
}

impl<T> Member<T> {
    /// Ready if the task has ended; otherwise it will wake the member's waker.
    fn poll_ended(&mut self) -> Poll<()> {
        let mut cx = Context::from_waker(&self.waker);
        self.handle.poll_ended(&mut cx)
    }

    /// With a budget of its own, so that a spent one does not look like a wake-up; whoever awaits the set charges for it. And never frozen: the handle keeps
    /// the member's waker also while nobody may take what it wakes for.
    fn poll(&mut self) -> Poll<Result<T, divisi_task::JoinError>> {
        let mut cx = Context::from_waker(&self.waker);
        let handle = Pin::new(&mut self.handle);
        freeze::with(Mode::Live, || budget::limited(|| handle.poll(&mut cx)))
    }
}
