//! Timers that never fire, and the lateness of those that do.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Timers);
