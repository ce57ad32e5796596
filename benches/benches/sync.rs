//! Locks, channels and limits.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Sync);
