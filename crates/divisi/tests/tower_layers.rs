//! The tower layers: shared by all clones, fair, on the runtime's clock.

use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use divisi::limit::{Concurrency, Rate, RateLimiter};
use divisi::time::{Elapsed, Instant, sleep};
use divisi::tower::{
    BufferLayer, ConcurrencyLimitLayer, RateLimitLayer, ServiceGone, TimeoutLayer,
};
use divisi::{Clock, Runtime};
use tower::{Layer, Service, ServiceBuilder, ServiceExt, service_fn};

const SECOND: Duration = Duration::from_secs(1);

fn on_virtual_clock<T>(test: impl Future<Output = T>) -> T {
    let runtime = Runtime::builder().worker_threads(1).clock(Clock::Virtual);
    runtime.build().unwrap().block_on(test)
}

async fn echo(number: u32) -> Result<u32, std::io::Error> {
    Ok(number)
}

#[test]
fn a_rate_is_shared_by_all_services_and_clones_of_a_layer() {
    on_virtual_clock(async {
        let layer = RateLimitLayer::new(RateLimiter::new(Rate::window(5, SECOND)));
        // As a server makes one for each connection, and a framework clones it for each request.
        let (one, other) = (
            layer.layer(service_fn(echo)),
            layer.clone().layer(service_fn(echo)),
        );
        let start = Instant::now();
        let tasks: Vec<_> = (0..50)
            .map(|number| {
                let service = if number % 2 == 0 {
                    one.clone()
                } else {
                    other.clone()
                };
                divisi::spawn(async move {
                    service.oneshot(number).await.unwrap();
                    start.elapsed().as_secs()
                })
            })
            .collect();
        let mut in_second = [0; 10];
        for task in tasks {
            in_second[task.await.unwrap() as usize] += 1;
        }
        assert_eq!(in_second, [5; 10]);
    });
}

#[test]
fn a_ready_service_that_is_not_called_gives_its_pass_back() {
    on_virtual_clock(async {
        let layer = RateLimitLayer::new(RateLimiter::new(Rate::per(1, SECOND)));
        let mut unused = layer.layer(service_fn(echo));
        unused.ready().await.unwrap();
        let mut waits = layer.layer(service_fn(echo));
        assert!(
            waits
                .poll_ready(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        drop(unused);
        let start = Instant::now();
        waits.ready().await.unwrap().call(1).await.unwrap();
        assert_eq!(start.elapsed(), Duration::ZERO);
    });
}

#[test]
fn slots_are_held_until_the_response_and_shared_by_all_clones() {
    on_virtual_clock(async {
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let layer = ConcurrencyLimitLayer::new(Concurrency::new(5));
        let counted = {
            let (now, most) = (now.clone(), most.clone());
            service_fn(move |(): ()| {
                let (now, most) = (now.clone(), most.clone());
                async move {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    sleep(SECOND).await;
                    now.fetch_sub(1, Ordering::SeqCst);
                    Ok::<_, std::io::Error>(())
                }
            })
        };
        let tasks: Vec<_> = (0..150)
            .map(|_| divisi::spawn(layer.layer(counted.clone()).oneshot(())))
            .collect();
        let start = Instant::now();
        for task in tasks {
            task.await.unwrap().unwrap();
        }
        assert_eq!(most.load(Ordering::SeqCst), 5);
        assert_eq!(start.elapsed(), 30 * SECOND);
    });
}

#[test]
fn a_dropped_response_frees_its_slot() {
    on_virtual_clock(async {
        let limit = Concurrency::new(1);
        let layer = ConcurrencyLimitLayer::new(limit.clone());
        let never = service_fn(|(): ()| std::future::pending::<Result<(), std::io::Error>>());
        let mut service = layer.layer(never);
        let response = service.ready().await.unwrap().call(());
        assert_eq!(limit.in_use(), 1);
        drop(response);
        assert_eq!(limit.in_use(), 0);
    });
}

#[test]
fn a_request_that_takes_too_long_fails_with_the_runtimes_error() {
    on_virtual_clock(async {
        let slow = service_fn(|seconds: u32| async move {
            sleep(seconds * SECOND).await;
            Ok::<_, std::io::Error>(seconds)
        });
        let service = TimeoutLayer::new(2 * SECOND).layer(slow);
        assert_eq!(service.oneshot(1).await.unwrap(), 1);
        let error = service.oneshot(3).await.unwrap_err();
        assert!(error.is::<Elapsed>(), "{error}");
    });
}

#[test]
fn a_buffer_takes_as_many_as_its_bound_and_serves_in_order() {
    on_virtual_clock(async {
        let mut served = Vec::new();
        let one_at_a_time = ConcurrencyLimitLayer::new(Concurrency::new(1)).layer(service_fn(
            move |number: u32| {
                served.push(number);
                let served = served.clone();
                async move {
                    sleep(SECOND).await;
                    Ok::<_, std::io::Error>(served)
                }
            },
        ));
        let buffered = BufferLayer::new(2).layer(one_at_a_time);
        let tasks: Vec<_> = (0..10)
            .map(|number| divisi::spawn(buffered.clone().oneshot(number)))
            .collect();
        let mut last = Vec::new();
        for task in tasks {
            last = task.await.unwrap().unwrap();
        }
        assert_eq!(last.len(), 10);
    });
}

#[test]
fn a_full_buffer_is_not_ready_and_leaves_out_who_has_gone() {
    on_virtual_clock(async {
        let limit = Concurrency::new(1);
        let slot = limit.acquire().await;
        let calls = Arc::new(AtomicUsize::new(0));
        let counted = {
            let calls = calls.clone();
            service_fn(move |_: u32| {
                calls.fetch_add(1, Ordering::SeqCst);
                std::future::ready(Ok::<_, std::io::Error>(()))
            })
        };
        let mut buffered =
            BufferLayer::new(2).layer(ConcurrencyLimitLayer::new(limit).layer(counted));
        let first = buffered.ready().await.unwrap().call(1);
        let second = buffered.ready().await.unwrap().call(2);
        // The first is with the service, the second in line.
        let mut cx = Context::from_waker(Waker::noop());
        assert!(buffered.poll_ready(&mut cx).is_pending());
        drop(second);
        drop(slot);
        first.await.unwrap();
        buffered.ready().await.unwrap().call(3).await.unwrap();
        assert_eq!(calls.load(Ordering::SeqCst), 2);
    });
}

/// Is never ready.
struct Broken;

impl Service<u32> for Broken {
    type Response = ();
    type Error = std::io::Error;
    type Future = std::future::Ready<Result<(), std::io::Error>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), std::io::Error>> {
        Poll::Ready(Err(std::io::Error::other("broken")))
    }

    fn call(&mut self, _: u32) -> Self::Future {
        unreachable!("it is never ready")
    }
}

#[test]
fn a_buffered_service_that_fails_says_so_to_everybody() {
    on_virtual_clock(async {
        let buffered = BufferLayer::new(1).layer(Broken);
        for _ in 0..3 {
            let error = buffered.clone().oneshot(1).await.unwrap_err();
            let gone = error.downcast::<ServiceGone>().unwrap();
            let source = std::error::Error::source(&gone).unwrap();
            assert_eq!(source.to_string(), "broken");
        }
    });
}

#[test]
fn a_buffered_service_that_panics_leaves_nobody_waiting() {
    let runtime = Runtime::builder()
        .worker_threads(1)
        .exception_handler(|_| {});
    runtime.build().unwrap().block_on(async {
        let panics = service_fn(|_: u32| -> std::future::Ready<Result<(), std::io::Error>> {
            panic!("on purpose")
        });
        let buffered = BufferLayer::new(1).layer(panics);
        for _ in 0..3 {
            let error = buffered.clone().oneshot(1).await.unwrap_err();
            assert!(error.is::<ServiceGone>(), "{error}");
        }
    });
}

#[test]
fn layers_stack() {
    on_virtual_clock(async {
        let service = ServiceBuilder::new()
            .layer(BufferLayer::new(10))
            .layer(RateLimitLayer::new(RateLimiter::new(Rate::paced(
                10, SECOND,
            ))))
            .layer(ConcurrencyLimitLayer::new(Concurrency::new(2)))
            .layer(TimeoutLayer::new(SECOND))
            .service(service_fn(echo));
        let start = Instant::now();
        let mut all = Vec::new();
        for number in 0..20 {
            all.push(divisi::spawn(service.clone().oneshot(number)));
        }
        for (number, task) in (0..20).zip(all) {
            assert_eq!(task.await.unwrap().unwrap(), number);
        }
        assert_eq!(start.elapsed(), 19 * SECOND / 10);
    });
}

#[test]
#[should_panic(expected = "before `poll_ready`")]
fn calling_without_being_ready_is_refused() {
    on_virtual_clock(async {
        let layer = RateLimitLayer::new(RateLimiter::new(Rate::per(1, SECOND)));
        let mut service = layer.layer(service_fn(echo));
        let _ = pin!(service.call(1)).poll(&mut Context::from_waker(Waker::noop()));
    });
}
