//! Rate limiters on a virtual clock: what passes when, in which order, and what a cancelled wait costs.

use std::future::Future;
use std::pin::pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divisi::limit::{Rate, RateLimiter, Refused};
use divisi::time::{Instant, advance, sleep, sleep_until};
use divisi::{Clock, Runtime};
use proptest::prelude::*;

const SECOND: Duration = Duration::from_secs(1);
const MILLI: Duration = Duration::from_millis(1);

fn on_virtual_clock<T>(workers: usize, test: impl Future<Output = T>) -> T {
    let builder = Runtime::builder().clock(Clock::Virtual);
    if workers == 1 {
        // Nothing is handed from thread to thread, which takes long where others keep the machine busy.
        return builder.build_local().unwrap().block_on(test);
    }
    let runtime = builder.worker_threads(workers).build().unwrap();
    runtime.block_on(test)
}

fn nanos(duration: Duration) -> u64 {
    duration.as_nanos().try_into().unwrap()
}

/// A limit by the definitions, as simply as can be.
#[derive(Clone, Debug)]
enum Model {
    /// Tokens, in shares of `period`, that a bucket of `burst` has, as of `at`.
    Bucket {
        amount: u64,
        period: u64,
        burst: u64,
        tokens: u128,
        at: u64,
    },
    /// The next may pass at `next`.
    Paced { amount: u64, period: u64, next: u64 },
    Window {
        amount: u64,
        period: u64,
        passes: Vec<(u64, u64)>,
    },
}

impl Model {
    fn may_pass(&self, now: u64, weight: u64) -> bool {
        match self {
            &Self::Bucket {
                amount,
                period,
                burst,
                tokens,
                at,
            } => {
                let full = u128::from(burst) * u128::from(period);
                let now = tokens + u128::from(now - at) * u128::from(amount);
                now.min(full) >= u128::from(weight) * u128::from(period)
            }
            Self::Paced { next, .. } => now >= *next,
            Self::Window {
                amount,
                period,
                passes,
            } => {
                let inside = passes.iter().rev().take_while(|(at, _)| at + period > now);
                inside.map(|(_, weight)| weight).sum::<u64>() + weight <= *amount
            }
        }
    }

    fn pass(&mut self, now: u64, weight: u64) {
        match self {
            Self::Bucket {
                amount,
                period,
                burst,
                tokens,
                at,
            } => {
                let full = u128::from(*burst) * u128::from(*period);
                let filled = (*tokens + u128::from(now - *at) * u128::from(*amount)).min(full);
                *tokens = filled - u128::from(weight) * u128::from(*period);
                *at = now;
            }
            Self::Paced {
                amount,
                period,
                next,
            } => *next = now + weight * *period / *amount,
            Self::Window { passes, .. } => passes.push((now, weight)),
        }
    }
}

/// A rate whose shares are whole microseconds, so that the model has no rounding.
fn rates() -> impl Strategy<Value = (Rate, Model)> {
    (0..3, 1u64..50, 10u64..2_000, 1u64..20).prop_map(|(kind, amount, micros, burst)| {
        let period = Duration::from_micros(micros * amount);
        let nanos = nanos(period);
        match kind {
            0 => (
                Rate::per(amount, period).burst(burst),
                Model::Bucket {
                    amount,
                    period: nanos,
                    burst,
                    tokens: u128::from(burst) * u128::from(nanos),
                    at: 0,
                },
            ),
            1 => (
                Rate::paced(amount, period),
                Model::Paced {
                    amount,
                    period: nanos,
                    next: 0,
                },
            ),
            _ => (
                Rate::window(amount, period),
                Model::Window {
                    amount,
                    period: nanos,
                    passes: Vec::new(),
                },
            ),
        }
    })
}

/// Arrivals: the gap before each in microseconds, and its weight, which is brought into the limiter's range.
fn arrivals(most: usize) -> impl Strategy<Value = Vec<(u64, u64)>> {
    let gap = prop_oneof![3 => Just(0u64), 2 => 0u64..500, 1 => 0u64..20_000];
    proptest::collection::vec((gap, 1u64..20), 1..most)
}

/// Lets everybody arrive, and returns when each arrived and passed, in nanoseconds, and its weight, in the order of arrival.
async fn let_pass(limiter: RateLimiter, arrivals: Vec<(u64, u64)>) -> Vec<(u64, u64, u64)> {
    let start = Instant::now();
    let mut tasks = Vec::new();
    for (gap, weight) in arrivals {
        sleep(Duration::from_micros(gap)).await;
        let weight = (weight - 1) % limiter.max_weight() + 1;
        let limiter = limiter.clone();
        let mut wait = Box::pin(async move {
            limiter.acquire_many(weight).await.unwrap();
            nanos(start.elapsed())
        });
        // The first poll here, so that the order of arrival is this one.
        let early = wait.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        let arrived = nanos(start.elapsed());
        let task = divisi::spawn(async move {
            match early {
                Poll::Ready(passed) => passed,
                Poll::Pending => wait.await,
            }
        });
        tasks.push((arrived, task, weight));
    }
    let mut passes = Vec::new();
    for (arrived, task, weight) in tasks {
        passes.push((arrived, task.await.unwrap(), weight));
    }
    passes
}

/// The most that passes in any window of that length.
fn densest_window(passes: &[(u64, u64, u64)], period: Duration) -> u64 {
    let (mut first, mut inside, mut most) = (0, 0, 0);
    for &(_, passed, weight) in passes {
        inside += weight;
        while passes[first].1 + nanos(period) <= passed {
            inside -= passes[first].2;
            first += 1;
        }
        most = most.max(inside);
    }
    most
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    /// Order and time of every pass, with any weights.
    #[test]
    fn everybody_passes_when_the_definition_says_and_in_order(
        limits in proptest::collection::vec(rates(), 1..4),
        arrivals in arrivals(150),
        workers in 1usize..3,
    ) {
        let (rates, mut models): (Vec<_>, Vec<_>) = limits.into_iter().unzip();
        let limiter = RateLimiter::all(rates);
        let passes = on_virtual_clock(workers, let_pass(limiter, arrivals));
        let mut before = 0;
        for &(arrived, passed, weight) in &passes {
            let may_pass_at = |time| models.iter().all(|model| model.may_pass(time, weight));
            prop_assert!(passed >= arrived.max(before));
            prop_assert!(may_pass_at(passed), "{passed} is too early");
            // Times are whole microseconds, but for windows that begin with a pass at the start.
            if passed > arrived.max(before) {
                prop_assert!(!may_pass_at(passed - 1), "{passed} is too late");
            }
            for model in &mut models {
                model.pass(passed, weight);
            }
            before = passed;
        }
    }

    /// What is taken back, whenever, is as if it had never been asked for.
    #[test]
    fn a_cancelled_wait_costs_nobody_a_slot(
        (rate, mut model) in rates(),
        weights in proptest::collection::vec((1u64..20, any::<bool>()), 1..60),
        cancel_after in 0u64..30_000,
    ) {
        let limiter = RateLimiter::new(rate);
        let passes = on_virtual_clock(1, async {
            let start = Instant::now();
            let mut tasks = Vec::new();
            for (weight, cancelled) in weights {
                let weight = (weight - 1) % limiter.max_weight() + 1;
                let limiter = limiter.clone();
                let mut wait = Box::pin(async move {
                    limiter.acquire_many(weight).await.unwrap();
                    nanos(start.elapsed())
                });
                let Poll::Pending = wait.as_mut().poll(&mut Context::from_waker(Waker::noop())) else {
                    tasks.push((0, weight, None));
                    continue;
                };
                tasks.push((cancel_after * u64::from(cancelled), weight, Some(divisi::spawn(wait))));
            }
            sleep(Duration::from_micros(cancel_after)).await;
            let mut passes = Vec::new();
            for (cancel, _, task) in &tasks {
                if let (1.., Some(task)) = (cancel, task) {
                    task.cancel("no longer");
                }
            }
            for (_, weight, task) in tasks {
                match task {
                    None => passes.push((0, weight)),
                    Some(task) => passes.extend(task.await.ok().map(|passed| (passed, weight))),
                }
            }
            passes
        });
        // Whoever is left passes as soon as the definition allows after the cancellation.
        let cancelled_at = cancel_after * 1000;
        let mut before = 0;
        for (passed, weight) in passes {
            prop_assert!(model.may_pass(passed, weight), "{passed} is too early");
            if passed > before && passed != cancelled_at {
                prop_assert!(!model.may_pass(passed - 1, weight) || passed - 1 < cancelled_at && before <= cancelled_at,
                    "{passed} is too late");
            }
            model.pass(passed, weight);
            before = passed;
        }
    }

    /// Reservations among others: all of it conforms, and each is behind those that were there.
    #[test]
    fn reservations_are_good_whatever_the_others_do(
        (rate, mut model) in rates(),
        steps in proptest::collection::vec((0u8..4, 1u64..20, 0u64..3_000), 1..60),
    ) {
        let limiter = RateLimiter::new(rate);
        let mut passes = on_virtual_clock(1, async {
            let start = Instant::now();
            let passes: Arc<Mutex<Vec<(u64, u64)>>> = Arc::default();
            let mut tasks = Vec::new();
            for (step, weight, gap) in steps {
                let weight = (weight - 1) % limiter.max_weight() + 1;
                let (limiter, passes) = (limiter.clone(), passes.clone());
                match step {
                    0 => {
                        let kept = limiter.reserve(weight).unwrap().keep();
                        passes.lock().unwrap().push((nanos(kept - start), weight));
                    }
                    1 => {
                        let given_back = limiter.reserve(weight).unwrap();
                        if given_back.at() == Instant::now() {
                            passes.lock().unwrap().push((nanos(start.elapsed()), weight));
                        }
                        tasks.push(divisi::spawn(async move {
                            sleep_until(given_back.at() - Duration::from_nanos(1)).await;
                            drop(given_back);
                        }));
                    }
                    2 => {
                        let reservation = limiter.reserve(weight).unwrap();
                        tasks.push(divisi::spawn(async move {
                            reservation.wait().await;
                            passes.lock().unwrap().push((nanos(start.elapsed()), weight));
                        }));
                    }
                    _ => tasks.push(divisi::spawn(async move {
                        limiter.acquire_many(weight).await.unwrap();
                        passes.lock().unwrap().push((nanos(start.elapsed()), weight));
                    })),
                }
                sleep(Duration::from_micros(gap)).await;
            }
            for task in tasks {
                task.await.unwrap();
            }
            std::mem::take(&mut *passes.lock().unwrap())
        });
        passes.sort_by_key(|(passed, _)| *passed);
        for (passed, weight) in passes {
            prop_assert!(model.may_pass(passed, weight), "{passed} is too early");
            model.pass(passed, weight);
        }
    }
}

/// In a window what passes a moment late is a burden a moment longer.
#[test]
fn who_is_found_a_place_late_does_not_spoil_a_reservation() {
    let period = Duration::from_micros(6930);
    let limiter = RateLimiter::new(Rate::window(22, period));
    let mut passes = on_virtual_clock(1, async {
        let start = Instant::now();
        let reserve = |weight| {
            let at = limiter.reserve(weight).unwrap().keep();
            (nanos(at - start), weight)
        };
        let mut passes = vec![reserve(22)];
        sleep(period).await;
        passes.push(reserve(17));
        sleep(MILLI).await;
        // One period later, and two.
        passes.extend([reserve(6), reserve(17), reserve(2)]);
        // It may pass with the six; but what is there is first found out by the next reservation, a microsecond after that.
        let waiting = divisi::spawn({
            let limiter = limiter.clone();
            async move {
                limiter.acquire_many(4).await.unwrap();
                (nanos(start.elapsed()), 4)
            }
        });
        sleep(MILLI).await;
        passes.push(reserve(1));
        sleep(period - 2 * MILLI + Duration::from_micros(1)).await;
        passes.push(reserve(1));
        passes.push(waiting.await.unwrap());
        passes
    });
    let mut model = Model::Window {
        amount: 22,
        period: nanos(period),
        passes: Vec::new(),
    };
    passes.sort_by_key(|(passed, _)| *passed);
    for (passed, weight) in passes {
        assert!(model.may_pass(passed, weight), "{passed} is too early");
        model.pass(passed, weight);
    }
}

/// A cheap source of arrivals: xorshift.
fn random(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state
}

#[test]
fn no_window_of_100_000_random_arrivals_holds_more_than_the_rate_and_the_burst() {
    let period = Duration::from_millis(100);
    let cases = [
        (Rate::per(100, period).burst(20), 120),
        (Rate::paced(100, period), 100 + 5),
        (Rate::window(100, period), 100),
    ];
    for (rate, most) in cases {
        let mut state = 0x9E37_79B9_7F4A_7C15;
        // Three times what may pass, in clusters, with pauses.
        let arrivals = (0..100_000).map(|_| {
            let gap = match random(&mut state) % 100 {
                0..60 => 0,
                60..99 => random(&mut state) % 3_500,
                _ => random(&mut state) % 1_000_000,
            };
            (gap, random(&mut state) % 5 + 1)
        });
        let passes = on_virtual_clock(1, let_pass(RateLimiter::new(rate), arrivals.collect()));
        assert_eq!(passes.len(), 100_000);
        assert!(
            passes.windows(2).all(|pair| pair[0].1 <= pair[1].1),
            "{rate:?}: out of order"
        );
        let densest = densest_window(&passes, period);
        assert!(densest <= most, "{rate:?}: {densest} in a window");
        assert!(
            densest > 95,
            "{rate:?}: never more than {densest} in a window"
        );
    }
}

#[test]
fn the_long_run_rate_is_exact_to_a_thousandth() {
    let odd = Duration::from_nanos(999_999_937);
    for rate in [
        Rate::per(3, odd).burst(1),
        Rate::per(700_001, odd).burst(1),
        Rate::per(900_000_001, odd).burst(8_000),
        Rate::paced(7, odd),
        Rate::paced(1_000_003, odd),
        Rate::window(7, odd),
        Rate::window(1_009, odd),
    ] {
        let limiter = RateLimiter::new(rate);
        let weight = (rate.amount() / 50_000).clamp(1, limiter.max_weight());
        let rounds = (rate.amount() / weight * 3).clamp(2_000, 40_000);
        // Whole windows.
        let rounds = rounds.next_multiple_of((rate.amount() / weight).min(rounds));
        let took = on_virtual_clock(1, async {
            // The first passes are at once, and do not count.
            while limiter.try_acquire().is_ok() {}
            let start = Instant::now();
            for _ in 0..rounds {
                limiter.acquire_many(weight).await.unwrap();
            }
            start.elapsed()
        });
        let nominal = (rounds * weight) as f64 * odd.as_secs_f64() / rate.amount() as f64;
        let error = (took.as_secs_f64() / nominal - 1.0).abs();
        assert!(error < 0.001, "{rate:?}: {error}");
    }
}

#[test]
fn a_weight_above_the_burst_is_refused_at_once() {
    on_virtual_clock(1, async {
        let limiter = RateLimiter::all([
            Rate::per(100, SECOND).burst(5),
            Rate::window(1_000, SECOND),
            Rate::paced(50, SECOND),
        ]);
        let start = Instant::now();
        let refused = limiter.acquire_many(6).await.unwrap_err();
        assert_eq!((refused.weight, refused.most), (6, 5));
        assert_eq!(limiter.try_acquire_many(6), Err(Refused::TooHeavy(refused)));
        assert_eq!(Refused::TooHeavy(refused).retry_after(), None);
        assert_eq!(limiter.reserve(6).unwrap_err(), refused);
        assert_eq!(start.elapsed(), Duration::ZERO);
        assert_eq!(limiter.acquire_many(5).await, Ok(()));
    });
}

#[test]
fn a_refusal_says_when_to_try_again() {
    on_virtual_clock(1, async {
        for rate in [
            Rate::per(10, SECOND).burst(1),
            Rate::paced(10, SECOND),
            Rate::window(1, SECOND / 10),
        ] {
            let limiter = RateLimiter::new(rate);
            limiter.acquire().await;
            let retry_after = limiter.try_acquire().unwrap_err().retry_after();
            assert_eq!(retry_after, Some(100 * MILLI), "{rate:?}");
            advance(99 * MILLI).await;
            assert_eq!(
                limiter.try_acquire(),
                Err(Refused::NotYet { retry_after: MILLI })
            );
            advance(MILLI).await;
            assert_eq!(limiter.try_acquire(), Ok(()));
        }
    });
}

#[test]
fn nobody_overtakes_who_waits() {
    on_virtual_clock(1, async {
        let limiter = RateLimiter::new(Rate::per(10, SECOND).burst(10));
        limiter.try_acquire_many(5).unwrap();
        let mut heavy = pin!(limiter.acquire_many(10));
        assert!(
            heavy
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        // Five would be free.
        let refused = limiter.try_acquire().unwrap_err();
        assert!(refused.retry_after().unwrap() > Duration::ZERO);
        heavy.await.unwrap();
        assert_eq!(limiter.waiting(), 0);
    });
}

#[test]
fn a_pass_that_was_given_but_not_taken_is_given_back() {
    on_virtual_clock(1, async {
        for rate in [
            Rate::per(1, SECOND),
            Rate::paced(1, SECOND),
            Rate::window(1, SECOND),
        ] {
            let limiter = RateLimiter::new(rate);
            limiter.acquire().await;
            let mut first = Box::pin(limiter.acquire());
            let mut second = Box::pin(limiter.acquire());
            let mut cx = Context::from_waker(Waker::noop());
            assert!(first.as_mut().poll(&mut cx).is_pending());
            assert!(second.as_mut().poll(&mut cx).is_pending());
            advance(SECOND).await;
            // Chosen, and dropped before it looks.
            drop(first);
            assert!(second.as_mut().poll(&mut cx).is_ready(), "{rate:?}");
        }
    });
}

#[test]
fn who_is_never_polled_holds_up_nobody() {
    on_virtual_clock(1, async {
        let limiter = RateLimiter::new(Rate::per(1, SECOND));
        limiter.acquire().await;
        let mut forgotten = Box::pin(limiter.acquire());
        assert!(
            forgotten
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        let start = Instant::now();
        limiter.acquire().await;
        assert_eq!(start.elapsed(), 2 * SECOND);
    });
}

#[test]
fn a_hundred_thousand_waiters_share_one_timer_and_cost_no_wake_ups() {
    const WAITERS: u64 = 100_000;
    on_virtual_clock(1, async {
        let limiter = RateLimiter::new(Rate::window(1, 1_000 * SECOND));
        limiter.acquire().await;
        let polls = Arc::new(std::sync::atomic::AtomicU64::new(0));
        let tasks: Vec<_> = (0..WAITERS)
            .map(|_| {
                let (limiter, polls) = (limiter.clone(), polls.clone());
                divisi::spawn(async move {
                    let mut wait = pin!(limiter.acquire());
                    std::future::poll_fn(|cx| {
                        polls.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                        wait.as_mut().poll(cx)
                    })
                    .await;
                })
            })
            .collect();
        let start = Instant::now();
        sleep(9_999 * SECOND).await;
        assert_eq!(start.elapsed(), 9_999 * SECOND);
        assert_eq!(limiter.waiting() as u64, WAITERS - 9);
        // Each was polled when it came, and once more when it passed: nobody was woken in vain.
        assert_eq!(
            polls.load(std::sync::atomic::Ordering::Relaxed),
            WAITERS + 9
        );
        for task in &tasks {
            task.cancel("enough");
        }
        for task in tasks {
            let _ = task.await;
        }
        assert_eq!(limiter.waiting(), 0);
    });
}

#[test]
fn two_threads_pass_no_more_than_one() {
    let limiter = RateLimiter::new(Rate::per(1_000, 3_600_000 * SECOND));
    let passed: usize = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    (0..10_000)
                        .filter(|_| limiter.try_acquire().is_ok())
                        .count()
                })
            })
            .collect();
        threads
            .into_iter()
            .map(|thread| thread.join().unwrap())
            .sum()
    });
    assert_eq!(passed, 1_000);
}

#[test]
fn a_limiter_outlives_the_runtime_whose_timer_it_used() {
    let limiter = RateLimiter::new(Rate::per(1, SECOND));
    let mut waiting = Box::pin({
        let limiter = limiter.clone();
        async move { limiter.acquire().await }
    });
    let first = Runtime::builder().worker_threads(1).build().unwrap();
    first.block_on(async {
        limiter.acquire().await;
        assert!(
            waiting
                .as_mut()
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
    });
    drop(first);
    Runtime::builder()
        .worker_threads(1)
        .build()
        .unwrap()
        .block_on(waiting);
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn a_runtime_that_is_not_driven_holds_up_nobody_in_another() {
    let idle = Runtime::builder().build_local().unwrap();
    let limiter = RateLimiter::new(Rate::per(1, SECOND));
    limiter.try_acquire().unwrap();
    let mut first = Box::pin(limiter.acquire());
    let mut second = Box::pin(limiter.acquire());
    idle.block_on(async {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(first.as_mut().poll(&mut cx).is_pending());
        assert!(second.as_mut().poll(&mut cx).is_pending());
    });
    let driven = Runtime::builder().worker_threads(1).build().unwrap();
    driven.block_on(async {
        let limit = 60 * SECOND;
        // Behind those who wait in the other runtime, and one of those in this one.
        divisi::time::timeout(limit, limiter.acquire())
            .await
            .unwrap();
        divisi::time::timeout(limit, second).await.unwrap();
        divisi::time::timeout(limit, first).await.unwrap();
    });
    assert_eq!(limiter.waiting(), 0);
}

#[test]
fn a_waiter_moved_to_another_runtime_has_an_alarm_there() {
    let idle = Runtime::builder().build_local().unwrap();
    let limiter = RateLimiter::new(Rate::per(1, SECOND));
    limiter.try_acquire().unwrap();
    let mut wait = Box::pin(limiter.acquire());
    idle.block_on(async {
        let mut cx = Context::from_waker(Waker::noop());
        assert!(wait.as_mut().poll(&mut cx).is_pending());
    });
    let driven = Runtime::builder().worker_threads(1).build().unwrap();
    driven.block_on(async {
        divisi::time::timeout(60 * SECOND, wait).await.unwrap();
    });
}

#[test]
fn a_place_behind_many_reservations_that_is_given_back_is_found() {
    on_virtual_clock(1, async {
        let limiter = RateLimiter::new(Rate::paced(1_000, SECOND));
        let start = Instant::now();
        limiter.try_acquire().unwrap();
        let mut reserved: Vec<_> = (0..20).map(|_| limiter.reserve(1).unwrap()).collect();
        let given_back = reserved.remove(17);
        let at = given_back.at();
        assert_eq!(at - start, 18 * MILLI);
        drop(given_back);
        limiter.acquire().await;
        assert_eq!(Instant::now(), at);
        assert_eq!(reserved.len(), 19);
    });
}

#[test]
#[should_panic(expected = "a wait for a rate limiter at")]
fn waiting_outside_a_runtime_panics_with_the_place() {
    let limiter = RateLimiter::new(Rate::per(1, 3_600 * SECOND));
    limiter.try_acquire().unwrap();
    let _ = pin!(limiter.acquire()).poll(&mut Context::from_waker(Waker::noop()));
}

#[test]
fn rates_that_make_no_sense_are_refused_with_a_reason() {
    let message = |make: fn() -> Rate| {
        let panic = std::panic::catch_unwind(make).unwrap_err();
        let text = panic.downcast_ref::<String>().cloned();
        text.unwrap_or_else(|| (*panic.downcast_ref::<&str>().unwrap()).to_owned())
    };
    assert!(message(|| Rate::per(0, SECOND)).contains("from 1 to"));
    assert!(message(|| Rate::per(1, Duration::ZERO)).contains("more than no time"));
    assert!(message(|| Rate::per(1, SECOND).burst(0)).contains("the burst"));
    assert!(message(|| Rate::window(1, SECOND).burst(2)).contains("only `Rate::per`"));
    assert!(message(|| Rate::paced(Rate::MAX + 1, SECOND)).contains("281474976710657"));
}

#[test]
fn the_longest_period_and_the_largest_weight_do_not_overflow() {
    on_virtual_clock(1, async {
        let for_ever = RateLimiter::new(Rate::per(1, Duration::MAX));
        for_ever.acquire().await;
        assert!(for_ever.try_acquire().is_err());
        for rate in [
            Rate::per(Rate::MAX, SECOND),
            Rate::per(1, Duration::MAX).burst(Rate::MAX),
            Rate::paced(Rate::MAX, Duration::MAX),
            Rate::window(Rate::MAX, Duration::MAX),
        ] {
            let limiter = RateLimiter::new(rate);
            limiter.acquire_many(Rate::MAX).await.unwrap();
            assert!(limiter.try_acquire_many(Rate::MAX).is_err(), "{rate:?}");
        }
    });
}
