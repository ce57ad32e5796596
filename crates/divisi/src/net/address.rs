//! Addresses, and names that stand for them.

use std::fmt;
use std::future::Future;
use std::io;
use std::iter;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::vec;

use super::resolver::look_up;

/// What can be given where a socket address is wanted.
///
/// An address in any of the usual forms is used as it is. A name, as in `"example.org:80"` or `("example.org", 80)`, is resolved by the system on threads
/// of its own.
///
/// The trait cannot be implemented outside this crate.
pub trait ToSocketAddrs: sealed::ToTarget {}

impl<T: sealed::ToTarget + ?Sized> ToSocketAddrs for T {}

/// What an address argument asks for.
#[derive(Debug)]
pub enum Target {
    Address(SocketAddr),
    Addresses(Vec<SocketAddr>),
    Name { host: String, port: u16 },
    Invalid(InvalidAddress),
}

mod sealed {
    pub trait ToTarget {
        fn to_target(&self) -> super::Target;
    }
}

pub(super) use sealed::ToTarget;

impl ToTarget for SocketAddr {
    fn to_target(&self) -> Target {
        Target::Address(*self)
    }
}

impl ToTarget for SocketAddrV4 {
    fn to_target(&self) -> Target {
        Target::Address((*self).into())
    }
}

impl ToTarget for SocketAddrV6 {
    fn to_target(&self) -> Target {
        Target::Address((*self).into())
    }
}

impl ToTarget for (IpAddr, u16) {
    fn to_target(&self) -> Target {
        Target::Address((*self).into())
    }
}

impl ToTarget for (Ipv4Addr, u16) {
    fn to_target(&self) -> Target {
        Target::Address((*self).into())
    }
}

impl ToTarget for (Ipv6Addr, u16) {
    fn to_target(&self) -> Target {
        Target::Address((*self).into())
    }
}

impl ToTarget for (&str, u16) {
    fn to_target(&self) -> Target {
        let (host, port) = *self;
        match host.parse::<IpAddr>() {
            Ok(ip) => Target::Address((ip, port).into()),
            Err(_) => Target::Name {
                host: host.to_owned(),
                port,
            },
        }
    }
}

impl ToTarget for (String, u16) {
    fn to_target(&self) -> Target {
        (self.0.as_str(), self.1).to_target()
    }
}

impl ToTarget for str {
    fn to_target(&self) -> Target {
        if let Ok(address) = self.parse() {
            return Target::Address(address);
        }
        let invalid = || Target::Invalid(InvalidAddress(self.to_owned()));
        let Some((host, port)) = self.rsplit_once(':') else {
            return invalid();
        };
        match port.parse() {
            Ok(port) => (host, port).to_target(),
            Err(_) => invalid(),
        }
    }
}

impl ToTarget for String {
    fn to_target(&self) -> Target {
        self.as_str().to_target()
    }
}

impl ToTarget for [SocketAddr] {
    fn to_target(&self) -> Target {
        Target::Addresses(self.to_vec())
    }
}

impl<const N: usize> ToTarget for [SocketAddr; N] {
    fn to_target(&self) -> Target {
        self.as_slice().to_target()
    }
}

impl ToTarget for Vec<SocketAddr> {
    fn to_target(&self) -> Target {
        self.as_slice().to_target()
    }
}

impl<T: ToTarget + ?Sized> ToTarget for &T {
    fn to_target(&self) -> Target {
        (**self).to_target()
    }
}

/// The text is neither an address nor a name with a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidAddress(String);

impl fmt::Display for InvalidAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "invalid socket address {:?}: write `address:port` or `name:port`, and an IPv6 address in brackets",
            self.0
        )
    }
}

impl std::error::Error for InvalidAddress {}

/// One address in the common case, and no allocation for it.
pub(super) enum Addresses {
    One(iter::Once<SocketAddr>),
    Many(vec::IntoIter<SocketAddr>),
}

impl Iterator for Addresses {
    type Item = SocketAddr;

    fn next(&mut self) -> Option<SocketAddr> {
        match self {
            Addresses::One(one) => one.next(),
            Addresses::Many(many) => many.next(),
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        match self {
            Addresses::One(one) => one.size_hint(),
            Addresses::Many(many) => many.size_hint(),
        }
    }
}

/// The addresses that `target` asks for. Only a name makes this wait.
pub(super) async fn resolve(target: Target) -> io::Result<Addresses> {
    match target {
        Target::Address(address) => Ok(Addresses::One(iter::once(address))),
        Target::Addresses(addresses) => Ok(Addresses::Many(addresses.into_iter())),
        Target::Name { host, port } => look_up(host, port)
            .await
            .map(|found| Addresses::Many(found.into_iter())),
        Target::Invalid(error) => Err(io::Error::new(io::ErrorKind::InvalidInput, error)),
    }
}

/// Calls `attempt` with each address of `target` until one succeeds. Gives the last error otherwise.
pub(super) async fn first_that_works<R, F>(
    target: Target,
    mut attempt: impl FnMut(SocketAddr) -> F,
) -> io::Result<R>
where
    F: Future<Output = io::Result<R>>,
{
    let mut last = None;
    for address in resolve(target).await? {
        match attempt(address).await {
            Ok(result) => return Ok(result),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| {
        io::Error::new(
            io::ErrorKind::InvalidInput,
            "there is no address to use: the list was empty, or the name has no address",
        )
    }))
}

/// Resolves a name, or gives back the address that it is.
///
/// ```
/// # divisi::run(async {
/// let mut addresses = divisi::net::lookup_host("127.0.0.1:80").await?;
/// assert_eq!(addresses.next(), Some(([127, 0, 0, 1], 80).into()));
/// # Ok::<(), std::io::Error>(())
/// # }).unwrap();
/// ```
///
/// # Errors
///
/// If the text is not of the form `name:port`, if the system's resolver finds nothing (with a [`LookupError`](super::LookupError) inside, which has the name),
/// or if a name is to be resolved where there is no runtime.
///
/// The system's resolver runs on a few threads of its own, apart from the blocking pool. Look-ups of one name that overlap are one, and an address in numbers
/// needs none.
///
/// # Cancel safety
///
/// Dropping the future leaves a look-up that has begun at work on its thread; one that waits for a thread is given up when nobody else wants it.
pub async fn lookup_host<A: ToSocketAddrs>(
    host: A,
) -> io::Result<impl Iterator<Item = SocketAddr> + Send + use<A>> {
    resolve(host.to_target()).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(target: Target) -> SocketAddr {
        match target {
            Target::Address(address) => address,
            other => panic!("{other:?} is not a single address"),
        }
    }

    #[test]
    fn numeric_forms_need_no_look_up() {
        let v4: SocketAddr = ([127, 0, 0, 1], 80).into();
        assert_eq!(address("127.0.0.1:80".to_target()), v4);
        assert_eq!(address(("127.0.0.1", 80).to_target()), v4);
        assert_eq!(address((Ipv4Addr::LOCALHOST, 80).to_target()), v4);
        assert_eq!(
            address((IpAddr::V4(Ipv4Addr::LOCALHOST), 80).to_target()),
            v4
        );
        let v6: SocketAddr = (Ipv6Addr::LOCALHOST, 80).into();
        assert_eq!(address("[::1]:80".to_target()), v6);
        assert_eq!(address(("::1", 80).to_target()), v6);
    }

    #[test]
    fn a_name_is_to_be_looked_up() {
        for target in [
            "localhost:80".to_target(),
            ("localhost", 80).to_target(),
            (String::from("localhost"), 80).to_target(),
        ] {
            assert!(matches!(target, Target::Name { host, port: 80 } if host == "localhost"));
        }
    }

    #[test]
    fn a_text_without_a_port_is_refused_with_what_to_write() {
        for text in ["localhost", "localhost:http", "127.0.0.1:65536", ""] {
            let Target::Invalid(error) = text.to_target() else {
                panic!("{text:?} was accepted");
            };
            assert!(error.to_string().contains("name:port"));
        }
    }
}
