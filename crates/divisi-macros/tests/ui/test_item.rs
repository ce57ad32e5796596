#[divisi_macros::test]
fn synchronous() {}
//~ 1 `#[divisi::test]` needs an `async fn`: write `async` before `fn`

#[divisi_macros::test]
pub(crate) unsafe fn unsafe_and_synchronous() {}
//~ 12 `#[divisi::test]` does not go with `unsafe`: write `async fn` alone

#[divisi_macros::test]
async unsafe fn unsafe_and_asynchronous() {}
//~ 7 `#[divisi::test]` does not go with `unsafe`: write `async fn` alone

#[divisi_macros::test]
async extern "C" fn foreign() {}
//~ 7 `#[divisi::test]` does not go with `extern`: write `async fn` alone

#[divisi_macros::test]
async fn with_arguments(number: u8, text: &str) {}
//~ 25 `#[divisi::test]` calls `with_arguments` itself: it takes no arguments

#[divisi_macros::test]
async fn generic<T>() {}
//~ 17 `#[divisi::test]` calls `generic` itself: it cannot be generic

#[divisi_macros::test]
async fn bounded() -> u8
where
//~ 1 `#[divisi::test]` calls `bounded` itself: it takes no `where` clause
    u8: Copy,
{
    5
}

#[divisi_macros::test]
#[test]
//~ 2 `#[divisi::test]` makes the function a test already: remove `#[test]`
async fn doubled() {}

#[divisi_macros::test]
struct NoFunction;
//~ 1 `#[divisi::test]` goes on an `async fn`

#[divisi_macros::test]
async fn without_body();
//~ 10 `#[divisi::test]` runs the body of `without_body`: it has none

fn main() {}
