//! Closures that block.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Blocking);
