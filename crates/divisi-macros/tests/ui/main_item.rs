#[divisi_macros::main]
fn main() {}
//~ 1 `#[divisi::main]` needs an `async fn`: write `async` before `fn`
