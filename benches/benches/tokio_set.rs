//! tokio's own bench set, on every runtime.

#![allow(missing_docs)]

divisi_benches::bench_theme!(TokioSet);
