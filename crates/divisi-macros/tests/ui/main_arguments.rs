mod stand_in {
    pub struct Runtime;

    impl Runtime {
        pub fn builder() -> Self {
            Runtime
        }

        pub fn worker_threads(self, _: usize) -> Self {
            self
        }

        pub fn build(self) -> Result<Self, ()> {
            Ok(self)
        }

        pub fn block_on<F: Future>(self, _: F) {}
    }
}

#[divisi_macros::main(crate = stand_in, worker_threads = 0)]
//~ 58 `worker_threads` must be a whole number of at least 1, written out
async fn zero() {}

#[divisi_macros::main(crate = stand_in, compute_threads = -1)]
//~ 59 `compute_threads` must be a whole number of at least 1, written out
async fn negative() {}

#[divisi_macros::main(crate = stand_in, worker_threads = "2")]
//~ 58 `worker_threads` must be a whole number of at least 1, written out
async fn quoted() {}

#[divisi_macros::main(crate = stand_in, workers = 2)]
//~ 41 unknown argument `workers`; `#[divisi::main]` takes `worker_threads`, `compute_threads`, `clock` and `crate`
async fn unknown() {}

#[divisi_macros::main(crate = stand_in, timeout = "5s")]
//~ 41 unknown argument `timeout`; `#[divisi::main]` takes `worker_threads`, `compute_threads`, `clock` and `crate`
async fn of_the_other_macro() {}

#[divisi_macros::main(crate = stand_in, clock)]
//~ 41 `clock` needs a value: write `clock = ..`
async fn bare() {}

#[divisi_macros::main(crate = stand_in, clock = )]
//~ 41 `clock` needs a value: write `clock = ..`
async fn no_value() {}

#[divisi_macros::main(crate = stand_in, clock = "wall")]
//~ 49 `clock` must be "real" or "virtual"
async fn no_such_clock() {}

#[divisi_macros::main(crate = stand_in, "2")]
//~ 41 expected `name = value`; `#[divisi::main]` takes `worker_threads`, `compute_threads`, `clock` and `crate`
async fn nameless() {}

#[divisi_macros::main(crate = stand_in, worker_threads = 2, worker_threads = 3)]
//~ 61 `worker_threads` is given twice
async fn twice() {}

#[divisi_macros::main(crate = stand_in, clock = "wall", workers = 1)]
//~ 49 `clock` must be "real" or "virtual"
//~ 57 unknown argument `workers`; `#[divisi::main]` takes `worker_threads`, `compute_threads`, `clock` and `crate`
async fn all_are_reported_and_the_body_too() {
    let _number: u8 = "text";
    //~ 23 mismatched types: expected `u8`, found `&str`
}

#[divisi_macros::main(crate = "stand_in")]
//~ 31 `crate` must be a path, without quotes, like `my_crate::divisi`
async fn quoted_path() {}

fn main() {
    zero();
    negative();
    quoted();
    unknown();
    of_the_other_macro();
    bare();
    no_value();
    no_such_clock();
    nameless();
    twice();
    all_are_reported_and_the_body_too();
    quoted_path();
}
