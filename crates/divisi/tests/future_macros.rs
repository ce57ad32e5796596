//! `join!`, `try_join!`, `select!`.

use std::cell::{Cell, RefCell};
use std::future::{Future, pending, poll_fn, ready};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Waker};

use divisi::future::race;
use divisi::{join, select, try_join};
use futures_lite::future::block_on;

/// Pending once, then ready.
fn second_poll<T: Unpin>(value: T) -> impl Future<Output = T> {
    let mut value = Some(value);
    let mut polled = false;
    poll_fn(move |cx| {
        if polled {
            return Poll::Ready(value.take().unwrap());
        }
        polled = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    })
}

struct NoteDrop(Rc<Cell<bool>>);

impl Drop for NoteDrop {
    fn drop(&mut self) {
        self.0.set(true);
    }
}

impl Future for NoteDrop {
    type Output = ();

    fn poll(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<()> {
        Poll::Pending
    }
}

#[test]
fn join_gives_all_outputs_in_order() {
    block_on(async {
        assert_eq!(
            join!(second_poll(1), ready("two"), async { 3.0 }),
            (1, "two", 3.0)
        );
        join!();
        assert_eq!(join!(ready(1)), (1,));
    });
}

#[test]
fn join_takes_sixteen_futures() {
    block_on(async {
        let all = join!(
            ready(0),
            ready(1),
            ready(2),
            ready(3),
            ready(4),
            ready(5),
            ready(6),
            ready(7),
            ready(8),
            ready(9),
            ready(10),
            ready(11),
            ready(12),
            ready(13),
            ready(14),
            second_poll(15)
        );
        assert_eq!((all.0, all.7, all.15), (0, 7, 15));
    });
}

#[test]
fn join_polls_no_future_after_it_is_done() {
    let polls = Cell::new(0);
    let once = poll_fn(|_| {
        polls.set(polls.get() + 1);
        Poll::Ready(())
    });
    block_on(async { join!(once, second_poll(())) });
    assert_eq!(polls.get(), 1);
}

#[test]
fn join_may_borrow_and_await_inside() {
    block_on(async {
        let text = String::from("shared");
        let (a, b) = join!(async { second_poll(text.len()).await }, async {
            text.as_str()
        });
        assert_eq!((a, b), (6, "shared"));
    });
}

#[test]
fn try_join_stops_at_the_first_error_and_drops_the_others() {
    block_on(async {
        let dropped = Rc::new(Cell::new(false));
        let other = NoteDrop(dropped.clone());
        let result = try_join!(
            async {
                other.await;
                Ok::<_, &str>(1)
            },
            async {
                second_poll(()).await;
                Err::<(), _>("broken")
            },
        );
        assert_eq!(result, Err("broken"));
        assert!(dropped.get());
    });
}

#[test]
fn try_join_gives_all_values() {
    block_on(async {
        let result: Result<_, ()> = try_join!(async { Ok(1) }, second_poll(Ok("two")));
        assert_eq!(result, Ok((1, "two")));
    });
}

#[test]
fn select_runs_the_arm_of_the_first_ready_future() {
    block_on(async {
        let answer = select! {
            _ = pending::<()>() => "never",
            value = second_poll("second") => value,
        };
        assert_eq!(answer, "second");
    });
}

#[test]
fn biased_select_prefers_the_upper_arm() {
    block_on(async {
        for _ in 0..100 {
            let first = select! {
                biased;
                _ = ready(()) => true,
                _ = ready(()) => false,
            };
            assert!(first);
        }
    });
}

#[test]
fn fair_select_serves_every_ready_arm() {
    block_on(async {
        let mut served = [0; 3];
        for _ in 0..3_000 {
            select! {
                _ = ready(()) => served[0] += 1,
                _ = ready(()) => served[1] += 1,
                _ = ready(()) => served[2] += 1,
            }
        }
        assert!(served.iter().all(|&count| count > 700), "{served:?}");
    });
}

#[test]
fn select_drops_the_losers_before_the_arm_runs() {
    block_on(async {
        let dropped = Rc::new(Cell::new(false));
        let loser = NoteDrop(dropped.clone());
        select! {
            _ = loser => unreachable!(),
            _ = ready(()) => assert!(dropped.get()),
        }
    });
}

#[test]
fn an_arm_may_use_what_the_futures_borrowed() {
    async fn push(list: &mut Vec<u8>) {
        list.push(1);
    }
    block_on(async {
        let mut list = Vec::new();
        select! {
            _ = push(&mut list) => list.push(2),
        }
        assert_eq!(list, [1, 2]);
    });
}

#[test]
fn an_output_that_does_not_match_takes_its_arm_out() {
    block_on(async {
        let polls = Cell::new(0);
        let closed = poll_fn(|_| {
            polls.set(polls.get() + 1);
            Poll::Ready(None::<u8>)
        });
        let answer = select! {
            Some(value) = closed => value,
            value = second_poll(7) => value,
        };
        assert_eq!(answer, 7);
        assert!(polls.get() <= 1);
    });
}

#[test]
fn else_runs_when_all_arms_are_out() {
    block_on(async {
        let answer = select! {
            Some(value) = ready(None) => value,
            Ok(value) = ready(Err("no")), if true => value,
            _ = pending::<()>(), if false => 3,
            else => 4,
        };
        assert_eq!(answer, 4);
    });
}

#[test]
#[should_panic(expected = "there is no `else` arm")]
fn select_panics_when_all_arms_are_out_and_there_is_no_else() {
    block_on(async {
        select! {
            Some(()) = ready(None) => {}
        }
    });
}

#[test]
fn a_false_condition_takes_an_arm_out() {
    block_on(async {
        let open = false;
        for _ in 0..50 {
            let answer = select! {
                _ = ready(()), if open => 1,
                _ = ready(()), if !open => { 2 }
            };
            assert_eq!(answer, 2);
        }
    });
}

#[test]
fn control_flow_in_an_arm_is_that_of_the_surrounding_code() {
    async fn first_error(results: Vec<Result<u8, &'static str>>) -> Result<u8, &'static str> {
        let mut sum = 0;
        for result in results {
            select! {
                value = ready(result) => sum += value?,
            }
        }
        Ok(sum)
    }
    block_on(async {
        let mut rounds = 0;
        loop {
            rounds += 1;
            select! {
                biased;
                _ = ready(()), if rounds < 3 => continue,
                _ = ready(()) => break,
            }
        }
        assert_eq!(rounds, 3);
        assert_eq!(first_error(vec![Ok(1), Ok(2)]).await, Ok(3));
        assert_eq!(first_error(vec![Ok(1), Err("no")]).await, Err("no"));
    });
}

#[test]
fn an_arm_may_await() {
    block_on(async {
        let answer = select! {
            value = ready(1) => second_poll(value + 1).await,
        };
        assert_eq!(answer, 2);
    });
}

#[test]
fn patterns_may_bind_in_every_mode() {
    block_on(async {
        let list = select! {
            Ok(mut list) | Err(mut list) = ready(Ok::<_, Vec<_>>(vec![1])) => { list.push(2); list }
        };
        assert_eq!(list, [1, 2]);
        let length = select! {
            Some(ref text) = ready(Some(String::from("four"))) => text.len(),
        };
        assert_eq!(length, 4);
        let grown = select! {
            Some((ref mut number, _)) = ready(Some((1, "x"))) => { *number += 1; *number }
        };
        assert_eq!(grown, 2);
        let whole = select! {
            whole @ Some(&5) = ready(Some(&5)) => whole.is_some(),
            else => false,
        };
        assert!(whole);
    });
}

#[test]
fn an_output_that_cannot_be_copied_reaches_its_arm_whole() {
    block_on(async {
        let value = Rc::new(RefCell::new(1));
        let got = select! {
            Some(got) = ready(Some(value.clone())) => got,
            else => unreachable!(),
        };
        assert!(Rc::ptr_eq(&got, &value));
        assert_eq!(Rc::strong_count(&value), 2);
    });
}

#[test]
fn a_pinned_future_goes_on_in_the_next_select() {
    block_on(async {
        let mut slow = pin!(async {
            for _ in 0..3 {
                second_poll(()).await;
            }
            "done"
        });
        let mut interruptions = 0;
        let answer = loop {
            select! {
                biased;
                answer = &mut slow => break answer,
                _ = ready(()) => interruptions += 1,
            }
        };
        assert_eq!(answer, "done");
        assert_eq!(interruptions, 3);
    });
}

#[test]
fn select_takes_sixteen_arms() {
    block_on(async {
        let answer = select! {
            _ = pending::<()>() => 0,
            _ = pending::<()>() => 1,
            _ = pending::<()>() => 2,
            _ = pending::<()>() => 3,
            _ = pending::<()>() => 4,
            _ = pending::<()>() => 5,
            _ = pending::<()>() => 6,
            _ = pending::<()>() => 7,
            _ = pending::<()>() => 8,
            _ = pending::<()>() => 9,
            _ = pending::<()>() => 10,
            _ = pending::<()>() => 11,
            _ = pending::<()>() => 12,
            _ = pending::<()>() => 13,
            _ = pending::<()>() => { 14 }
            answer = second_poll(15) => answer,
        };
        assert_eq!(answer, 15);
    });
}

#[test]
fn a_select_in_a_task_is_send() {
    fn assert_send<T: Send>(_: &T) {}
    let future = async {
        select! {
            _ = ready(String::new()) => {}
            _ = pending::<()>() => {}
        }
        join!(ready(1), ready(2))
    };
    assert_send(&future);
    assert_eq!(block_on(future), (1, 2));
}

#[test]
fn race_gives_the_first_output_and_or_prefers_the_left() {
    block_on(async {
        assert_eq!(race(second_poll(1), pending()).await, 1);
        assert_eq!(divisi::future::or(ready(1), ready(2)).await, 1);
    });
}

#[test]
fn a_pending_select_is_woken_by_any_arm() {
    let (sender, receiver) = (Rc::new(Cell::new(false)), ());
    let ready_now = sender.clone();
    let mut future = pin!(async move {
        select! {
            _ = pending::<()>() => receiver,
            () = poll_fn(|_| if ready_now.get() { Poll::Ready(()) } else { Poll::Pending }) => {}
        }
    });
    let mut cx = Context::from_waker(Waker::noop());
    assert!(future.as_mut().poll(&mut cx).is_pending());
    sender.set(true);
    assert!(future.as_mut().poll(&mut cx).is_ready());
}

#[test]
fn a_pattern_may_name_constants_of_the_user() {
    const ALL: u32 = 7;
    block_on(async {
        let seven = divisi::select! {
            ALL = async { 7_u32 } => true,
            else => false,
        };
        assert!(seven);
    });
}

#[divisi::test]
async fn a_joined_future_that_spends_the_budget_does_not_starve_the_others() {
    let always = divisi::sync::Event::new();
    always.set();
    let done = AtomicBool::new(false);
    let busy = async {
        while !done.load(Ordering::Relaxed) {
            always.wait().await;
        }
        Ok::<_, ()>(())
    };
    let quick = async {
        always.wait().await;
        done.store(true, Ordering::Relaxed);
        Ok::<_, ()>(())
    };
    assert_eq!(divisi::try_join!(busy, quick), Ok(((), ())));
    done.store(false, Ordering::Relaxed);
    let busy = async {
        while !done.load(Ordering::Relaxed) {
            always.wait().await;
        }
    };
    let quick = async {
        always.wait().await;
        done.store(true, Ordering::Relaxed);
    };
    divisi::join!(busy, quick);
}
