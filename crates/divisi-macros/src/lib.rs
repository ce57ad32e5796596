//! The attribute macros of the divisi async runtime.
//!
//! Use them through the `divisi` crate, which re-exports both: [`#[divisi::main]`](macro@main) and [`#[divisi::test]`](macro@test).
//!
//! Both keep the function they are put on as it is, `async`, and wrap it in an ordinary function of the same name:
//!
//! ```text
//! #[divisi::main]                      fn main() -> T {
//! async fn main() -> T { body }  ==>       async fn main() -> T { body }
//!                                          ::divisi::Runtime::builder()...build().expect(..).block_on(main())
//!                                      }
//! ```
//!
//! So types, lints, error messages and line numbers inside the body are the ones an `async fn` has without the attribute.
//!
//! This crate has no dependencies: a function's signature is the only syntax it has to understand, and parsing that by hand builds in a
//! fraction of the time that `syn` takes. `function` parses the signature, `args` what stands in the attribute's parentheses,
//! `expand` writes the wrapper and `diagnostic` turns whatever is wrong into a compile error at the token that is wrong.

#![forbid(unsafe_code)]

mod args;
mod diagnostic;
mod expand;
mod function;

use proc_macro::TokenStream;

/// Runs an `async fn` on a divisi runtime of its own: for `main`, mostly.
///
/// The runtime is built with `Runtime::builder()`, the function runs on it as the root future, and what the function returns is returned
/// to the caller. The root future may borrow and need not be `Send`.
///
/// ```
/// #[divisi::main(worker_threads = 2)]
/// async fn main() -> std::io::Result<()> {
///     divisi::time::sleep(std::time::Duration::from_millis(1)).await;
///     Ok(())
/// }
/// ```
///
/// # Arguments
///
/// | argument | meaning | default |
/// |---|---|---|
/// | `worker_threads = 4` | number of async workers, at least 1 | the builder's: one per core |
/// | `compute_threads = 4` | number of threads for `offload`, at least 1 | the builder's: one per core |
/// | `clock = "virtual"` | time jumps to the next timer whenever the runtime is idle | `"real"` |
/// | `crate = path` | where the `divisi` crate is found | `::divisi` |
///
/// For a number known only at run time use `Runtime::builder()` in an ordinary `main`.
///
/// # Panics
///
/// The expanded function panics if the runtime cannot be started, for instance for lack of threads or file descriptors.
///
/// # Errors
///
/// Compilation fails if the function is not `async`, or has arguments, generics, a `where` clause, `unsafe`, `const` or an ABI:
///
/// ```compile_fail
/// #[divisi_macros::main]
/// fn main() {}
/// ```
#[proc_macro_attribute]
pub fn main(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::main(arguments, item)
}

/// Makes an `async fn` a test that runs on a divisi runtime of its own.
///
/// Besides what the function itself asserts, the test fails when
/// - it takes longer than `timeout` (what is still running is listed, with the line where each task waits), or
/// - it leaves tasks behind that do not end within a second, unless `allow_leftover_tasks = true`: a task that outlives its test is a leak, or a
///   race with the next test.
///
/// ```
/// #[divisi::test(clock = "virtual", timeout = "5s")]
/// async fn an_hour_passes_at_once() {
///     divisi::time::sleep(std::time::Duration::from_secs(3600)).await;
/// }
/// ```
///
/// `#[should_panic]`, `#[ignore]`, doc comments and other attributes are written below it, as for `#[test]`, and the function may return
/// whatever a `#[test]` function may return.
///
/// # Arguments
///
/// | argument | meaning | default |
/// |---|---|---|
/// | `worker_threads = 4` | number of async workers, at least 1 | `1` |
/// | `timeout = "5s"` | bound on wall-clock time, whatever the clock: `"500ms"`, `"5s"` or `"2m"` | `"60s"` |
/// | `clock = "virtual"` | time jumps to the next timer whenever the runtime is idle | `"real"` |
/// | `allow_leftover_tasks = true` | tasks may outlive the test | `false` |
/// | `crate = path` | where the `divisi` crate is found | `::divisi` |
///
/// # Errors
///
/// Compilation fails for the same functions as with [`main`](macro@main), and if `#[test]` is there as well:
///
/// ```compile_fail
/// #[divisi_macros::test]
/// #[test]
/// async fn twice() {}
/// ```
#[proc_macro_attribute]
pub fn test(arguments: TokenStream, item: TokenStream) -> TokenStream {
    expand::test(arguments, item)
}
