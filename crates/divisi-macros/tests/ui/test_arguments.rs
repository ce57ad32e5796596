mod stand_in {
    pub mod __private {
        pub use std::time::Duration;

        pub struct TestConfig;

        impl TestConfig {
            pub fn new(_: &str) -> Self {
                Self
            }

            pub fn worker_threads(self, _: usize) -> Self {
                self
            }

            pub fn timeout(self, _: Duration) -> Self {
                self
            }

            pub fn virtual_clock(self, _: bool) -> Self {
                self
            }

            pub fn allow_leftover_tasks(self, _: bool) -> Self {
                self
            }
        }

        pub fn run_test<F: Future>(_: TestConfig, _: F) {}
    }
}

#[divisi_macros::test(crate = stand_in, timeout = "5")]
//~ 51 `timeout` must be a time above zero like "500ms", "5s" or "2m"
async fn no_unit() {}

#[divisi_macros::test(crate = stand_in, timeout = 5)]
//~ 51 `timeout` must be a time above zero like "500ms", "5s" or "2m"
async fn no_text() {}

#[divisi_macros::test(crate = stand_in, timeout = "0s")]
//~ 51 `timeout` must be a time above zero like "500ms", "5s" or "2m"
async fn no_time() {}

#[divisi_macros::test(crate = stand_in, allow_leftover_tasks = 1)]
//~ 64 `allow_leftover_tasks` must be `true` or `false`
async fn no_truth() {}

#[divisi_macros::test(crate = stand_in, compute_threads = 1)]
//~ 41 unknown argument `compute_threads`; `#[divisi::test]` takes `worker_threads`, `timeout`, `clock`, `allow_leftover_tasks` and `crate`
async fn of_the_other_macro() {}

fn main() {}
