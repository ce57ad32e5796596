# How anything is done here. `just` lists the recipes.

_default:
    @just --list --unsorted

# The tests, doc tests and the guide's code included.
test *ARGS:
    cargo test --workspace {{ARGS}}

# Everything that CI checks, or only the steps named; `.ci/run nosuch` lists them.
check *STEPS:
    .ci/run {{STEPS}}

# Format all crates.
fmt:
    cargo fmt --all

# The concurrency models.
loom: (check "loom")

# Weakens a crate's lock-free code place by place; a model must fail every time: `just mutants divisi-scheduler idle.rs`.
mutants CRATE *FILE:
    .ci/mutants {{CRATE}} {{FILE}}

# Structured concurrency against CPython's asyncio, with scenarios that were never tried before. Needs Python 3.11 or later.
oracle:
    cargo test -p divisi --test asyncio_oracle -- --ignored fresh_scenarios recorded_scenarios

# Records what asyncio does with the scenarios that `just test` compares with.
oracle-record:
    cargo test -p divisi --test asyncio_oracle -- --ignored --exact record

# The tests under AddressSanitizer.
asan: (check "asan")

# The whole suite, some two hours; writes docs/src/performance.md. Interrupted, the same command goes on. `just bench --full`, `just bench --only core-w2-spawn --fresh`.
bench *ARGS:
    cargo build --release -p divisi-benches --bins
    cargo run --release -p divisi-benches --bin suite -- run --report {{ARGS}}

# The same table in some two minutes; writes target/bench/quick/performance.md.
bench-quick *ARGS:
    cargo build --release -p divisi-benches --bins
    cargo run --release -p divisi-benches --bin suite -- run --quick --fresh --report {{ARGS}}

# Puts what has been measured on docs/src/performance.md.
bench-report *ARGS:
    cargo run --release -p divisi-benches --bin suite -- report {{ARGS}}

# The demo's comparison: the same server on divisi, tokio + rayon and tokio + spawn_blocking, under the same load in turn.
demo-compare *ARGS:
    cargo build --release -p divisi-benches --bins
    cargo run --release -p divisi-benches --bin demo-compare -- {{ARGS}}

# Criterion, peers one after the other: `just criterion spawn`, `just criterion --save-baseline before`.
criterion *ARGS:
    cargo bench -p divisi-benches -- {{ARGS}}

# The quick table, peers interleaved: `just compare echo/ timers/`.
compare *ARGS:
    cargo run --release -p divisi-benches --bin compare -- {{ARGS}}

# The guide (where mdbook is installed) and the reference.
docs:
    if command -v mdbook >/dev/null; then mdbook build docs; else echo "no mdbook: cargo install mdbook builds the guide"; fi
    RUSTDOCFLAGS="-D warnings" cargo doc --workspace --no-deps

# One of the examples, by name.
example NAME *ARGS:
    cargo run --release -p divisi --example {{NAME}} -- {{ARGS}}

# I/O that stays quick while every core computes.
demo: (example "compute_server")
