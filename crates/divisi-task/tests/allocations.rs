//! What a task allocates over its life, counted on the thread of the test.
#![cfg(all(not(divisi_loom), target_pointer_width = "64"))]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use divisi_task::{
    CancelReason, Cause, Ran, Registry, RunSlot, Runnable, Schedule, SpawnOptions, UnhandledPanic,
};

thread_local! {
    /// Allocations of this thread and their bytes.
    static MADE: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
    /// Those that were freed again.
    static FREED: Cell<(usize, usize)> = const { Cell::new((0, 0)) };
}

struct Counting;

// SAFETY: passes everything on to the system's allocator; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let (count, bytes) = MADE.get();
        MADE.set((count + 1, bytes + layout.size()));
        // SAFETY: the caller's contract.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        let (count, bytes) = FREED.get();
        FREED.set((count + 1, bytes + layout.size()));
        // SAFETY: the caller's contract.
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// What `f` allocates and frees, each as (count, bytes).
fn counted<R>(f: impl FnOnce() -> R) -> (R, (usize, usize), (usize, usize)) {
    let before = (MADE.get(), FREED.get());
    let result = f();
    let after = (MADE.get(), FREED.get());
    let minus = |a: (usize, usize), b: (usize, usize)| (a.0 - b.0, a.1 - b.1);
    (result, minus(after.0, before.0), minus(after.1, before.1))
}

/// A scheduler that needs no memory.
struct OneSlot(RunSlot);

impl Schedule for OneSlot {
    fn schedule(&self, task: Runnable, _: Cause) {
        assert!(self.0.replace(task).is_none());
    }

    fn unhandled_panic(&self, panic: UnhandledPanic) {
        panic!("{panic}");
    }
}

/// 32 bytes that yield once and give 24 bytes.
struct Small([usize; 4]);

impl Future for Small {
    type Output = [usize; 3];

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<[usize; 3]> {
        if self.0[0] == 0 {
            self.0[0] = 1;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready([self.0[0]; 3])
    }
}

#[test]
fn a_small_task_is_one_allocation_of_128_bytes_for_all_its_life() {
    const NOTHING: (usize, usize) = (0, 0);
    let (registry, scheduler) = (Registry::new(1), Arc::new(OneSlot(RunSlot::new())));
    // The registry's first slots are made with its first task.
    drop(
        divisi_task::spawn(
            Small([0; 4]),
            scheduler.clone(),
            &registry,
            SpawnOptions::new(),
        )
        .unwrap(),
    );

    let for_spawn = scheduler.clone();
    let ((task, mut handle), made, freed) = counted(|| {
        divisi_task::spawn(Small([0; 4]), for_spawn, &registry, SpawnOptions::new()).unwrap()
    });
    assert_eq!((made, freed), ((1, 128), NOTHING));

    let (_, made, freed) = counted(|| {
        assert_eq!(task.run(), Ran::Yielded);
        assert!(
            Pin::new(&mut handle)
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        assert_eq!(scheduler.0.take().unwrap().run(), Ran::Completed);
        assert!(
            Pin::new(&mut handle)
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_ready()
        );
    });
    assert_eq!((made, freed), (NOTHING, NOTHING));

    let (_, made, freed) = counted(|| drop(handle));
    assert_eq!((made, freed), (NOTHING, (1, 128)));

    let for_spawn = scheduler.clone();
    let name: Box<str> = "named".into();
    let (named, made, _) = counted(|| {
        let options = SpawnOptions::new().name(name);
        divisi_task::spawn(Small([0; 4]), for_spawn, &registry, options).unwrap()
    });
    assert_eq!(made.0, 2, "a name costs one more");
    drop(named);
    assert_eq!(Arc::strong_count(&scheduler), 1);
}

#[test]
fn a_task_that_nobody_awaits_is_ended_without_an_allocation() {
    let (registry, scheduler) = (Registry::new(1), Arc::new(OneSlot(RunSlot::new())));
    let (queued, handle) = divisi_task::spawn(
        Small([0; 4]),
        scheduler.clone(),
        &registry,
        SpawnOptions::new(),
    )
    .unwrap();
    let task = handle.task();
    drop(handle);
    let reason = CancelReason::new("closing");
    let (ended, made, _) = counted(|| task.shutdown(reason));
    assert!(ended);
    assert_eq!(made, (0, 0));
    drop(queued);
    let (_, _, freed) = counted(|| drop(task));
    assert_eq!(freed, (1, 128));
}
