//! Streams out of async closures, and several things of a stream at a time.

use std::future::pending;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use divisi::future::poll_once;
use divisi::spawn;
use divisi::stream::{
    self, ConcurrentExt, StreamExt, as_completed, generate, iter, merge_all, try_generate,
};
use divisi::time::{Instant, sleep, timeout};
use proptest::prelude::*;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

async fn after<T>(delay: u64, value: T) -> T {
    sleep(ms(delay)).await;
    value
}

struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Alive {
        count.fetch_add(1, Ordering::SeqCst);
        Alive(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

// --- generate

#[divisi::test]
async fn the_body_runs_no_further_than_the_consumer_has_come() {
    let reached = Arc::new(AtomicUsize::new(0));
    let mut numbers = generate({
        let reached = reached.clone();
        async move |out| {
            for n in 1.. {
                reached.store(n, Ordering::SeqCst);
                out.emit(n).await;
            }
        }
    });
    assert_eq!(reached.load(Ordering::SeqCst), 0);
    for n in 1..=10 {
        assert_eq!(numbers.next().await, Some(n));
        assert_eq!(reached.load(Ordering::SeqCst), n);
    }
}

#[divisi::test(clock = "virtual")]
async fn a_body_may_wait_between_its_items() {
    let start = Instant::now();
    let items = generate(async |out| {
        for n in 0..3 {
            sleep(ms(10)).await;
            out.emit((n, start.elapsed())).await;
        }
    });
    let items: Vec<_> = items.collect().await;
    assert_eq!(items, [(0, ms(10)), (1, ms(20)), (2, ms(30))]);
}

#[divisi::test]
async fn dropping_the_stream_drops_the_body_where_it_waits() {
    let alive = Arc::new(AtomicUsize::new(0));
    let body = |alive: Alive| {
        generate(async move |out| {
            let _alive = alive;
            out.emit(1).await;
            pending().await
        })
    };
    // Unpolled, in the middle of `emit`, and after it.
    drop(body(Alive::new(&alive)));
    for polls in 1..=2 {
        let mut items = body(Alive::new(&alive));
        for _ in 0..polls {
            let _ = poll_once(items.next()).await;
        }
        assert_eq!(alive.load(Ordering::SeqCst), 1);
        drop(items);
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    }
}

#[divisi::test(clock = "virtual")]
async fn cancelling_the_consumer_closes_the_source() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = Alive::new(&alive);
    let consumer = spawn(async move {
        let mut items = generate(async move |out| {
            let _alive = counted;
            loop {
                out.emit(()).await;
                sleep(ms(1)).await;
            }
        });
        while items.next().await.is_some() {}
    });
    sleep(ms(10)).await;
    consumer.cancel("enough");
    assert!(consumer.await.unwrap_err().is_cancelled());
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[divisi::test]
async fn what_the_body_holds_goes_when_it_returns() {
    let alive = Arc::new(AtomicUsize::new(0));
    let counted = Alive::new(&alive);
    let mut items = generate(async move |out| {
        let _alive = counted;
        out.emit(1).await;
    });
    assert_eq!(items.next().await, Some(1));
    assert_eq!(items.next().await, None);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
    assert_eq!(items.next().await, None);
}

#[divisi::test]
async fn parts_of_the_body_that_emit_at_the_same_time_take_turns() {
    let items = generate(async |out| {
        let part = async |part: &'static str| {
            for n in 0..100 {
                out.emit((part, n)).await;
            }
        };
        // In futures with wakers of their own.
        divisi::join_all([part("a"), part("b")]).await;
        divisi::join!(part("c"), part("d"));
    });
    let items: Vec<_> = items.collect().await;
    assert_eq!(items.len(), 400);
    for pair in items.chunks(2) {
        assert_ne!(pair[0].0, pair[1].0, "{pair:?}");
        assert_eq!(pair[0].1, pair[1].1);
    }
}

#[divisi::test]
async fn an_item_whose_emit_was_given_up_still_comes() {
    let items = generate(async |out| {
        assert!(poll_once(out.emit(1)).await.is_none());
        assert!(poll_once(out.emit(2)).await.is_none());
    });
    assert_eq!(items.collect::<Vec<_>>().await, [1, 2]);
}

#[divisi::test]
async fn emitting_after_the_end_says_what_is_wrong() {
    let (tell, told) = divisi::channel::oneshot();
    let items = generate(async |out: stream::Emitter<u8>| drop(tell.send(out)));
    assert!(items.collect::<Vec<_>>().await.is_empty());
    let kept = told.await.unwrap();
    let late = spawn(async move { kept.emit(1).await }).await.unwrap_err();
    assert!(
        late.to_string()
            .contains("`emit` after the stream has ended")
    );
}

#[divisi::test]
async fn an_emitter_in_another_task_wakes_the_consumer() {
    let items = generate(async |out: stream::Emitter<u32>| {
        let other = spawn(async move {
            for n in 0..100 {
                out.emit(n).await;
                divisi::yield_now().await;
            }
        });
        other.await.unwrap();
    });
    assert_eq!(
        items.collect::<Vec<_>>().await,
        (0..100).collect::<Vec<_>>()
    );
}

#[divisi::test]
async fn an_error_of_the_body_is_the_last_item() {
    let items = try_generate(async |out| {
        out.emit(1).await;
        assert!(poll_once(out.emit(2)).await.is_none());
        Err::<(), _>("broken")
    });
    let items: Vec<Result<i32, &str>> = items.collect().await;
    assert_eq!(items, [Ok(1), Ok(2), Err("broken")]);
    let items = try_generate(async |out| {
        out.emit(1).await;
        Ok::<_, ()>(())
    });
    assert_eq!(items.collect::<Vec<_>>().await, [Ok(1)]);
}

#[divisi::test]
async fn a_generated_stream_can_be_sent_to_a_task() {
    let items = generate(async |out| out.emit(1).await);
    assert_eq!(spawn(items.collect::<Vec<_>>()).await.unwrap(), [1]);
}

// --- several at a time

#[divisi::test(clock = "virtual")]
async fn buffered_keeps_the_order_and_the_limit() {
    let (running, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
    let start = Instant::now();
    let outputs: Vec<u64> = iter(0..20_u64)
        .map(|n| {
            let (running, most) = (running.clone(), most.clone());
            async move {
                let _running = Alive::new(&running);
                most.fetch_max(running.load(Ordering::SeqCst), Ordering::SeqCst);
                // The later of each four the quicker.
                after(10 - n % 4, n).await
            }
        })
        .buffered(4)
        .collect()
        .await;
    assert_eq!(outputs, (0..20).collect::<Vec<_>>());
    assert_eq!(most.load(Ordering::SeqCst), 4);
    assert!(start.elapsed() <= ms(60), "{:?}", start.elapsed());
}

#[divisi::test(clock = "virtual")]
async fn buffer_unordered_gives_outputs_as_they_come() {
    let outputs = iter([30, 10, 20, 5])
        .map(|n| after(n, n))
        .buffer_unordered(3);
    // The fourth starts when the second is done, at 10 ms.
    assert_eq!(outputs.collect::<Vec<_>>().await, [10, 5, 20, 30]);
}

#[divisi::test]
async fn a_source_is_asked_only_when_there_is_room() {
    let asked = AtomicUsize::new(0);
    let source = iter(0..100).map(|n| {
        asked.fetch_add(1, Ordering::SeqCst);
        async move { if n == 0 { pending().await } else { n } }
    });
    let mut ordered = source.buffered(5);
    assert!(poll_once(ordered.next()).await.is_none());
    // The four behind the first are done and wait for it.
    assert!(poll_once(ordered.next()).await.is_none());
    assert_eq!(asked.load(Ordering::SeqCst), 5);
}

#[divisi::test]
async fn dropping_a_buffer_drops_source_and_futures() {
    let alive = Arc::new(AtomicUsize::new(0));
    let source = generate({
        let alive = alive.clone();
        async move |out| {
            let _body = Alive::new(&alive);
            loop {
                let counted = Alive::new(&alive);
                out.emit(async move {
                    let _counted = counted;
                    pending::<()>().await;
                })
                .await;
            }
        }
    });
    let mut buffer = source.buffer_unordered(3);
    assert!(poll_once(buffer.next()).await.is_none());
    assert!(alive.load(Ordering::SeqCst) >= 4);
    drop(buffer);
    assert_eq!(alive.load(Ordering::SeqCst), 0);
}

#[divisi::test(clock = "virtual")]
async fn a_next_that_is_given_up_loses_nothing() {
    let mut outputs = iter([20, 30]).map(|n| after(n, n)).buffered(2);
    assert!(timeout(ms(10), outputs.next()).await.is_err());
    assert_eq!(outputs.next().await, Some(20));
    assert_eq!(outputs.next().await, Some(30));
    assert_eq!(outputs.next().await, None);
}

#[divisi::test]
#[should_panic(expected = "allow at least 1")]
async fn a_buffer_of_nothing_is_refused() {
    let _ = iter([async {}]).buffered(0);
}

#[divisi::test(clock = "virtual")]
async fn as_completed_gives_outputs_as_they_come_and_can_be_resumed() {
    let mut outputs = as_completed([30, 10, 20].map(|n| after(n, n)));
    assert_eq!(outputs.next().await, Some((1, 10)));
    assert!(timeout(ms(5), outputs.next()).await.is_err());
    assert_eq!(outputs.collect::<Vec<_>>().await, [(2, 20), (0, 30)]);
}

#[divisi::test(clock = "virtual")]
async fn merged_streams_give_items_as_they_come_until_both_have_ended() {
    let ticks = |every: u64, count: usize| {
        generate(async move |out| {
            for _ in 0..count {
                sleep(ms(every)).await;
                out.emit(every).await;
            }
        })
    };
    let merged: Vec<_> = ticks(20, 2).merge(ticks(15, 4)).collect().await;
    assert_eq!(merged, [15, 20, 15, 20, 15, 15]);
    let merged: Vec<_> = merge_all([ticks(20, 2), ticks(15, 4), ticks(1, 1)])
        .collect()
        .await;
    assert_eq!(merged, [1, 15, 20, 15, 20, 15, 15]);
}

#[divisi::test]
async fn streams_that_always_have_items_take_turns_when_merged() {
    let merged: Vec<_> = stream::repeat(1)
        .merge(stream::repeat(2))
        .take(100)
        .collect()
        .await;
    assert_eq!(merged.iter().filter(|n| **n == 1).count(), 50);
    let merged: Vec<_> = merge_all([stream::repeat(1), stream::repeat(2)])
        .take(100)
        .collect()
        .await;
    assert_eq!(merged.iter().filter(|n| **n == 1).count(), 50);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Against the plainest model: delays on a virtual clock say when each output must come.
    #[test]
    fn buffers_agree_with_a_model(delays in prop::collection::vec(0_u64..50, 0..40), limit in 1_usize..8) {
        let runtime = divisi::Runtime::builder()
            .worker_threads(1)
            .clock(divisi::Clock::Virtual)
            .build()
            .unwrap();
        let run = |ordered: bool| {
            let delays = delays.clone();
            runtime.block_on(async move {
                let start = Instant::now();
                let futures = iter(delays.into_iter().enumerate()).map(|(n, delay)| async move {
                    sleep(ms(delay)).await;
                    n
                });
                let stamp = |n: usize| (n, start.elapsed());
                if ordered {
                    futures.buffered(limit).map(stamp).collect::<Vec<_>>().await
                } else {
                    futures.buffer_unordered(limit).map(stamp).collect::<Vec<_>>().await
                }
            })
        };
        // Unordered: `limit` lanes; each future takes the lane that is free first.
        let mut lanes = vec![0_u64; limit];
        let ends: Vec<u64> = delays.iter().map(|delay| {
            let lane = lanes.iter_mut().min().unwrap();
            *lane += delay;
            *lane
        }).collect();
        let outputs = run(false);
        let mut numbers: Vec<_> = outputs.iter().map(|(n, _)| *n).collect();
        numbers.sort_unstable();
        prop_assert_eq!(numbers, (0..delays.len()).collect::<Vec<_>>());
        for (n, at) in &outputs {
            prop_assert_eq!(*at, ms(ends[*n]));
        }
        // Ordered: a future starts when the one `limit` places before it was given out, and is given out after its predecessor.
        let mut given: Vec<u64> = Vec::new();
        for (n, delay) in delays.iter().enumerate() {
            let start = if n >= limit { given[n - limit] } else { 0 };
            let end = start + delay;
            given.push(given.last().map_or(end, |before: &u64| end.max(*before)));
        }
        let expected: Vec<_> = given.iter().enumerate().map(|(n, at)| (n, ms(*at))).collect();
        prop_assert_eq!(run(true), expected);
    }
}

#[divisi::test]
async fn an_emit_from_elsewhere_whose_item_nobody_takes_panics_when_the_stream_is_gone() {
    let mut kept = None;
    let stream = generate(|out| {
        kept = Some(out);
        pending()
    });
    let out = kept.unwrap();
    let task = spawn(async move { out.emit(1).await });
    // Whether or not it waits by now.
    divisi::yield_now().await;
    drop(stream);
    let error = task.await.unwrap_err();
    assert!(error.to_string().contains("after the stream has ended"));
}

#[divisi::test]
async fn a_body_that_is_always_ready_lets_others_run() {
    let mut stream = Box::pin(generate(async |out| {
        for n in 0..u64::MAX {
            out.emit(n).await;
        }
    }));
    // One poll, as a budget is spent in.
    let mut all = Box::pin(async { while stream.next().await.is_some() {} });
    assert!(poll_once(&mut all).await.is_none());
}

#[divisi::test(clock = "virtual")]
async fn a_body_in_a_scope_that_was_cancelled_comes_to_the_end_of_its_clean_up() {
    let begin = Instant::now();
    let mut stream = Box::pin(generate(async |out| {
        divisi::shield(sleep(ms(20))).await;
        out.emit(()).await;
    }));
    // An item that comes while the body is let go on beats the time-out; or not: it ends in any case, and not before the shielded part.
    let _ = timeout(ms(10), stream.next()).await;
    assert_eq!(begin.elapsed(), ms(20));
}
