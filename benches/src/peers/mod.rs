//! The runtimes under test.

mod divisi;
mod http;
mod smol;
mod sync;
mod tokio;

pub use self::{divisi::Divisi, smol::Smol, tokio::Tokio};

/// Calls `$visit::<Peer>($argument, ..)` for every runtime, divisi first.
#[macro_export]
macro_rules! for_each_peer {
    ($visit:ident($($argument:expr),*)) => {{
        $visit::<$crate::peers::Divisi>($($argument),*);
        $visit::<$crate::peers::Tokio>($($argument),*);
        $visit::<$crate::peers::Smol>($($argument),*);
    }};
}
