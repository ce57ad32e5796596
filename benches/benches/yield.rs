//! Giving way.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Yield);
