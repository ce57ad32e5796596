//! Tasks that wake each other.

#![allow(missing_docs)]

divisi_benches::bench_theme!(PingPong);
