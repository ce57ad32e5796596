//! Cancelling, starting and ending by the hundred thousand.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Tasks);
