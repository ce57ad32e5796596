//! Starting tasks and awaiting them.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Spawn);
