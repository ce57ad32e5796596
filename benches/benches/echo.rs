//! TCP echo with both ends in the runtime.

#![allow(missing_docs)]

divisi_benches::bench_theme!(Echo);
