//! What the macros expand to, seen from a stand-in for the `divisi` crate that writes down how it is called.

#![forbid(unsafe_code)]

use std::{future::Future, pin::pin, sync::Arc, task::Context, time::Duration};

/// The parts of the face crate that expansions name.
mod stand_in {
    use super::{Duration, Future, block_on};
    use std::{cell::RefCell, io};

    #[derive(Debug, Default, Clone, PartialEq, Eq)]
    pub(crate) struct Runtime {
        pub(crate) worker_threads: Option<usize>,
        pub(crate) compute_threads: Option<usize>,
        pub(crate) clock: Clock,
    }

    #[derive(Debug, Default, Clone, PartialEq, Eq)]
    pub(crate) enum Clock {
        #[default]
        Real,
        Virtual,
    }

    thread_local! {
        pub(crate) static LAST_RUNTIME: RefCell<Option<Runtime>> = const { RefCell::new(None) };
        pub(crate) static LAST_TEST: RefCell<Option<__private::TestConfig>> = const { RefCell::new(None) };
    }

    impl Runtime {
        pub(crate) fn builder() -> Self {
            Self::default()
        }

        pub(crate) fn worker_threads(mut self, threads: usize) -> Self {
            self.worker_threads = Some(threads);
            self
        }

        pub(crate) fn compute_threads(mut self, threads: usize) -> Self {
            self.compute_threads = Some(threads);
            self
        }

        pub(crate) fn clock(mut self, clock: Clock) -> Self {
            self.clock = clock;
            self
        }

        pub(crate) fn build(self) -> io::Result<Self> {
            Ok(self)
        }

        pub(crate) fn block_on<F: Future>(self, future: F) -> F::Output {
            LAST_RUNTIME.set(Some(self));
            block_on(future)
        }
    }

    pub(crate) mod __private {
        use super::{Duration, Future, LAST_TEST, block_on};

        #[derive(Debug, Clone, PartialEq, Eq)]
        pub(crate) struct TestConfig {
            pub(crate) name: &'static str,
            pub(crate) worker_threads: usize,
            pub(crate) timeout: Duration,
            pub(crate) virtual_clock: bool,
            pub(crate) allow_leftover_tasks: bool,
        }

        impl TestConfig {
            pub(crate) fn new(name: &'static str) -> Self {
                Self {
                    name,
                    worker_threads: 0,
                    timeout: Duration::ZERO,
                    virtual_clock: true,
                    allow_leftover_tasks: true,
                }
            }

            pub(crate) fn worker_threads(mut self, threads: usize) -> Self {
                self.worker_threads = threads;
                self
            }

            pub(crate) fn timeout(mut self, timeout: Duration) -> Self {
                self.timeout = timeout;
                self
            }

            pub(crate) fn virtual_clock(mut self, on: bool) -> Self {
                self.virtual_clock = on;
                self
            }

            pub(crate) fn allow_leftover_tasks(mut self, allow: bool) -> Self {
                self.allow_leftover_tasks = allow;
                self
            }
        }

        pub(crate) fn run_test<F: Future>(config: TestConfig, test: F) -> F::Output {
            LAST_TEST.set(Some(config));
            block_on(test)
        }
    }
}

use stand_in::{__private::TestConfig, Clock, LAST_RUNTIME, LAST_TEST, Runtime};

/// Polls a future that never has to wait.
fn block_on<F: Future>(future: F) -> F::Output {
    struct Ignore;
    impl std::task::Wake for Ignore {
        fn wake(self: Arc<Self>) {}
    }
    let waker = Arc::new(Ignore).into();
    match pin!(future).poll(&mut Context::from_waker(&waker)) {
        std::task::Poll::Ready(output) => output,
        std::task::Poll::Pending => panic!("the futures of these tests never wait"),
    }
}

fn last_runtime() -> Runtime {
    LAST_RUNTIME.take().expect("the function ran on a runtime")
}

mod main_macro {
    use super::*;

    #[test]
    fn without_arguments_the_builders_defaults_hold() {
        #[divisi_macros::main(crate = stand_in)]
        async fn main() {}

        main();
        assert_eq!(last_runtime(), Runtime::default());
    }

    #[test]
    fn arguments_reach_the_builder() {
        #[divisi_macros::main(worker_threads = 3, compute_threads = 1_0usize, clock = "virtual", crate = stand_in)]
        async fn main() {}

        main();
        let expected = Runtime {
            worker_threads: Some(3),
            compute_threads: Some(10),
            clock: Clock::Virtual,
        };
        assert_eq!(last_runtime(), expected);
    }

    #[test]
    fn the_real_clock_may_be_named_and_a_trailing_comma_written() {
        #[divisi_macros::main(clock = "real", crate = super::stand_in,)]
        async fn main() {}

        main();
        assert_eq!(last_runtime().clock, Clock::Real);
    }

    #[test]
    fn the_value_of_the_function_is_returned() {
        #[divisi_macros::main(crate = stand_in)]
        async fn main() -> [u8; {
            const TWO: usize = 2;
            TWO
        }] {
            std::future::ready([1, 2]).await
        }

        assert_eq!(main(), [1, 2]);
    }

    #[test]
    fn the_error_type_of_a_question_mark_is_known() {
        #[divisi_macros::main(crate = stand_in)]
        async fn main() -> Result<(), Box<dyn std::error::Error>> {
            "no number".parse::<u8>()?;
            Ok(())
        }

        assert!(main().unwrap_err().is::<std::num::ParseIntError>());
    }

    #[test]
    fn an_opaque_return_type_works() {
        #[divisi_macros::main(crate = stand_in)]
        async fn main() -> impl std::process::Termination {
            std::process::ExitCode::SUCCESS
        }

        let _termination = main();
    }

    mod elsewhere {
        #[divisi_macros::main(crate = crate::stand_in)]
        #[must_use]
        /// Documented below the attribute.
        pub(in super::super) async fn public_in_an_outer_module() -> u8 {
            7
        }
    }

    #[test]
    fn visibility_and_attributes_are_kept() {
        assert_eq!(elsewhere::public_in_an_outer_module(), 7);
    }

    #[test]
    fn parts_may_come_from_a_declarative_macro() {
        macro_rules! entry {
            ($visibility:vis $name:ident $threads:literal $clock:literal $output:ty $body:block) => {
                #[divisi_macros::main(worker_threads = $threads, clock = $clock, crate = stand_in)]
                $visibility async fn $name() -> $output { $body }
            };
        }
        entry!(pub(crate) entry 5 "virtual" &'static str { "hello" });

        assert_eq!(entry(), "hello");
        let runtime = last_runtime();
        assert_eq!(
            (runtime.worker_threads, runtime.clock),
            (Some(5), Clock::Virtual)
        );
    }
}

mod test_macro {
    use super::*;

    // Brings the macro's name into the scope in which its expansion has to find the standard `#[test]`.
    use divisi_macros::test;

    fn last_test() -> TestConfig {
        LAST_TEST.with_borrow(|config| config.clone().expect("set before the test runs"))
    }

    #[test(crate = stand_in)]
    async fn without_arguments_the_documented_defaults_hold() {
        let expected = TestConfig {
            name: "expansion::test_macro::without_arguments_the_documented_defaults_hold",
            worker_threads: 1,
            timeout: Duration::from_secs(60),
            virtual_clock: false,
            allow_leftover_tasks: false,
        };
        assert_eq!(last_test(), expected);
    }

    #[test(worker_threads = 4, timeout = "500ms", clock = "virtual", allow_leftover_tasks = true, crate = stand_in)]
    async fn arguments_reach_the_configuration() {
        let expected = TestConfig {
            name: "expansion::test_macro::arguments_reach_the_configuration",
            worker_threads: 4,
            timeout: Duration::from_millis(500),
            virtual_clock: true,
            allow_leftover_tasks: true,
        };
        assert_eq!(last_test(), expected);
    }

    #[test(timeout = "2m", clock = "real", allow_leftover_tasks = false, crate = stand_in)]
    async fn minutes_are_a_unit() {
        assert_eq!(last_test().timeout, Duration::from_secs(120));
    }

    #[test(crate = stand_in)]
    #[should_panic(expected = "as it should")]
    async fn should_panic_sees_the_panic() {
        panic!("as it should");
    }

    #[test(crate = stand_in)]
    #[ignore = "shows that the attribute arrives: the test would fail"]
    async fn ignore_is_heeded() {
        panic!("this test is ignored");
    }

    #[test(crate = stand_in)]
    async fn a_result_may_be_returned() -> Result<(), std::num::ParseIntError> {
        "5".parse::<u8>().map(drop)
    }

    /// Doc comments may stand above the attribute.
    #[test(crate = stand_in)]
    /// And below it.
    async fn r#async() {
        assert!(last_test().name.ends_with("::r#async"));
    }
}
