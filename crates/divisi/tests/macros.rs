//! `#[divisi::main]` and `#[divisi::test]` on a real runtime.

#![forbid(unsafe_code)]

use std::{
    cell::Cell,
    future,
    rc::Rc,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

mod main_macro {
    use super::*;

    #[divisi::main]
    async fn answer() -> Result<u8, divisi::JoinError> {
        divisi::spawn(async { 42 }).await
    }

    #[test]
    fn the_function_runs_on_a_runtime_and_returns_its_value() {
        assert_eq!(answer().unwrap(), 42);
    }

    #[divisi::main(worker_threads = 3)]
    async fn three_workers() -> usize {
        divisi::Handle::current().metrics().scheduler.workers.len()
    }

    #[test]
    fn the_number_of_workers_is_the_one_asked_for() {
        assert_eq!(three_workers(), 3);
    }

    #[divisi::main(clock = "virtual")]
    async fn long_sleep() {
        divisi::time::sleep(Duration::from_secs(24 * 60 * 60)).await;
    }

    #[test]
    fn in_virtual_time_a_day_passes_at_once() {
        let start = Instant::now();
        long_sleep();
        assert!(start.elapsed() < Duration::from_secs(60 * 60));
    }

    #[test]
    fn the_future_need_not_be_send() {
        #[divisi::main]
        async fn not_send() -> u8 {
            let shared = Rc::new(Cell::new(1));
            divisi::yield_now().await;
            shared.set(2);
            shared.get()
        }
        assert_eq!(not_send(), 2);
    }
}

mod test_macro {
    use super::*;
    use divisi::test;

    #[test]
    async fn a_test_has_one_worker() {
        assert_eq!(
            divisi::Handle::current().metrics().scheduler.workers.len(),
            1
        );
    }

    #[test(worker_threads = 2)]
    async fn two_workers_run_two_tasks_at_once() {
        // Each blocks until the other one has come, which takes two threads.
        let barrier = Arc::new(std::sync::Barrier::new(2));
        let other = barrier.clone();
        let task = divisi::spawn(async move { other.wait().is_leader() });
        let own = divisi::spawn(async move { barrier.wait().is_leader() });
        assert_ne!(task.await.unwrap(), own.await.unwrap());
    }

    #[test(clock = "virtual", timeout = "30s")]
    async fn virtual_time_does_not_count_for_the_timeout() {
        divisi::time::sleep(Duration::from_secs(60 * 60)).await;
    }

    #[test]
    async fn a_result_may_be_returned() -> Result<(), Box<dyn std::error::Error>> {
        divisi::spawn(async {}).await?;
        Ok(())
    }

    #[test]
    #[should_panic(expected = "the body's own panic")]
    async fn a_panic_of_the_body_fails_the_test() {
        panic!("the body's own panic");
    }

    #[test(timeout = "50ms")]
    #[should_panic(expected = "did not end within 50ms")]
    async fn a_test_that_takes_too_long_fails() {
        future::pending::<()>().await;
    }

    #[test(timeout = "50ms", clock = "virtual")]
    #[should_panic(expected = "did not end within 50ms")]
    async fn the_timeout_holds_in_virtual_time_too() {
        future::pending::<()>().await;
    }

    #[test]
    #[should_panic(expected = "1 of its tasks had not ended")]
    async fn a_task_that_is_left_over_fails_the_test() {
        drop(divisi::spawn(future::pending::<()>()));
    }

    #[test(allow_leftover_tasks = true)]
    async fn tasks_may_be_left_over_where_that_is_said() {
        drop(divisi::spawn(future::pending::<()>()));
    }

    #[test]
    async fn a_task_that_is_about_to_end_is_not_left_over() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let (begun, has_begun) = divisi::channel::oneshot();
        drop(divisi::spawn_blocking(move || {
            begun.send(()).unwrap();
            receiver.recv()
        }));
        has_begun.await.unwrap();
        sender.send(()).unwrap();
    }

    /// The tests above run under the very function whose failures they expect; this one looks at its message from outside.
    #[::core::prelude::v1::test]
    fn the_message_about_left_over_tasks_names_them() {
        let panic = thread::spawn(|| {
            let config = divisi::__private::TestConfig::new("the_name");
            divisi::__private::run_test(config, async {
                drop(
                    divisi::task::Builder::new()
                        .name("straggler")
                        .spawn(future::pending::<()>()),
                );
            });
        })
        .join()
        .expect_err("a task is left over");
        let message = panic.downcast::<String>().expect("a formatted message");
        assert!(message.contains("straggler"), "{message}");
    }
}
