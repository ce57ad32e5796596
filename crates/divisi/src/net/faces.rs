//! The methods that several socket types share, written once. Each type has its inside in a field `inner` that gives `waits()` and `get_ref()`.

/// What every socket has: readiness, its own address, the way to and from the standard library's type.
macro_rules! socket_face {
    ($face:ident, std: $std:ty, address: $address:ty) => {
        impl $face {
            /// The address on this side.
            ///
            /// # Errors
            ///
            /// Those of the operating system.
            pub fn local_addr(&self) -> ::std::io::Result<$address> {
                self.inner.get_ref().local_addr()
            }

            /// Takes the error that the system keeps for this socket, if there is one.
            ///
            /// # Errors
            ///
            /// Those of the operating system.
            pub fn take_error(&self) -> ::std::io::Result<Option<::std::io::Error>> {
                self.inner.get_ref().take_error()
            }

            /// Waits until something can be read (or accepted, or received) as far as is known. Follow with a `try_` method.
            ///
            /// # Cancel safety
            ///
            /// Loses nothing.
            #[track_caller]
            pub fn readable(
                &self,
            ) -> impl ::std::future::Future<Output = ::std::io::Result<()>> + '_ {
                self.inner.waits().ready(
                    ::divisi_reactor::Direction::Read,
                    ::std::panic::Location::caller(),
                )
            }

            /// Waits until something can be written as far as is known. Follow with a `try_` method.
            ///
            /// # Cancel safety
            ///
            /// Loses nothing.
            #[track_caller]
            pub fn writable(
                &self,
            ) -> impl ::std::future::Future<Output = ::std::io::Result<()>> + '_ {
                self.inner.waits().ready(
                    ::divisi_reactor::Direction::Write,
                    ::std::panic::Location::caller(),
                )
            }

            /// Takes over a socket of the standard library and puts it into non-blocking mode.
            ///
            /// # Errors
            ///
            /// If the mode cannot be set.
            #[track_caller]
            pub fn from_std(socket: $std) -> ::std::io::Result<$face> {
                let made_at = ::std::panic::Location::caller();
                socket.set_nonblocking(true)?;
                Ok($face::from_nonblocking(socket, made_at))
            }

            /// The socket as the standard library's type. It stays in non-blocking mode.
            pub fn into_std(self) -> $std {
                self.inner.into_inner()
            }
        }

        impl ::std::os::fd::AsFd for $face {
            fn as_fd(&self) -> ::std::os::fd::BorrowedFd<'_> {
                self.inner.get_ref().as_fd()
            }
        }

        impl ::std::os::fd::AsRawFd for $face {
            fn as_raw_fd(&self) -> ::std::os::fd::RawFd {
                ::std::os::fd::AsRawFd::as_raw_fd(self.inner.get_ref())
            }
        }

        /// As [`from_std`](Self::from_std).
        impl TryFrom<$std> for $face {
            type Error = ::std::io::Error;

            #[track_caller]
            fn try_from(socket: $std) -> ::std::io::Result<$face> {
                $face::from_std(socket)
            }
        }

        impl ::std::fmt::Debug for $face {
            fn fmt(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
                self.inner.fmt(f)
            }
        }
    };
}

/// What streams have: reading, writing, ending, splitting, and the traits.
macro_rules! stream_face {
    ($face:ident, std: $std:ty, address: $address:ty) => {
        socket_face!($face, std: $std, address: $address);

        impl $face {
            /// `socket` is in non-blocking mode.
            pub(super) fn from_nonblocking(socket: $std, made_at: &'static ::std::panic::Location<'static>) -> $face {
                $face {
                    inner: $crate::net::stream::Stream::new(socket, made_at),
                }
            }

            /// The address of the other side.
            ///
            /// # Errors
            ///
            /// Those of the operating system; [`NotConnected`](std::io::ErrorKind::NotConnected) when the connection is gone.
            pub fn peer_addr(&self) -> ::std::io::Result<$address> {
                self.inner.get_ref().peer_addr()
            }

            /// Reads what is there into the start of `buf`, and waits if there is nothing. Zero means the end of the stream (or of `buf`).
            ///
            /// # Cancel safety
            ///
            /// Loses nothing.
            #[track_caller]
            pub fn read<'a>(&'a self, buf: &'a mut [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send + use<'a> {
                self.inner.read(buf, ::std::panic::Location::caller())
            }

            /// Reads into several buffers, one after the other. See [`read`](Self::read).
            #[track_caller]
            pub fn read_vectored<'a>(
                &'a self,
                bufs: &'a mut [::std::io::IoSliceMut<'_>],
            ) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send {
                self.inner.read_vectored(bufs, ::std::panic::Location::caller())
            }

            /// Reads until `buf` is full.
            ///
            /// # Errors
            ///
            /// [`UnexpectedEof`](std::io::ErrorKind::UnexpectedEof) if the stream ends before.
            ///
            /// # Cancel safety
            ///
            /// Dropped in the middle, it has taken an unknown number of bytes from the stream.
            #[track_caller]
            pub fn read_exact<'a>(&'a self, buf: &'a mut [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<()>> + Send + use<'a> {
                self.inner.read_exact(buf, ::std::panic::Location::caller())
            }

            /// As [`read`](Self::read), but leaves the bytes in the stream.
            #[track_caller]
            pub fn peek<'a>(&'a self, buf: &'a mut [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send + use<'a> {
                self.inner.peek(buf, ::std::panic::Location::caller())
            }

            /// Writes from the start of `buf` what the system takes, and waits if it takes nothing.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it has written nothing.
            #[track_caller]
            pub fn write<'a>(&'a self, buf: &'a [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send + use<'a> {
                self.inner.write(buf, ::std::panic::Location::caller())
            }

            /// Writes from several buffers, one after the other. See [`write`](Self::write).
            #[track_caller]
            pub fn write_vectored<'a>(
                &'a self,
                bufs: &'a [::std::io::IoSlice<'_>],
            ) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send {
                self.inner.write_vectored(bufs, ::std::panic::Location::caller())
            }

            /// Writes all of `buf`.
            ///
            /// # Cancel safety
            ///
            /// Dropped in the middle, it has written an unknown number of bytes.
            #[track_caller]
            pub fn write_all<'a>(&'a self, buf: &'a [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<()>> + Send + use<'a> {
                self.inner.write_all(buf, ::std::panic::Location::caller())
            }

            /// As [`read`](Self::read), without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) if there is nothing to read.
            pub fn try_read(&self, buf: &mut [u8]) -> ::std::io::Result<usize> {
                self.inner.try_read(buf)
            }

            /// As [`read_vectored`](Self::read_vectored), without waiting. See [`try_read`](Self::try_read).
            pub fn try_read_vectored(&self, bufs: &mut [::std::io::IoSliceMut<'_>]) -> ::std::io::Result<usize> {
                self.inner.try_read_vectored(bufs)
            }

            /// As [`write`](Self::write), without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) if the system takes nothing now.
            pub fn try_write(&self, buf: &[u8]) -> ::std::io::Result<usize> {
                self.inner.try_write(buf)
            }

            /// As [`write_vectored`](Self::write_vectored), without waiting. See [`try_write`](Self::try_write).
            pub fn try_write_vectored(&self, bufs: &[::std::io::IoSlice<'_>]) -> ::std::io::Result<usize> {
                self.inner.try_write_vectored(bufs)
            }

            /// Ends one direction of the stream or both. The peer reads the end after what was written before.
            ///
            /// # Errors
            ///
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) when the connection is gone.
            pub fn shutdown(&self, how: ::std::net::Shutdown) -> ::std::io::Result<()> {
                self.inner.shutdown(how)
            }

            /// The two directions as objects that borrow the stream. They cost nothing; [`into_split`](Self::into_split) gives two that can go to
            /// different tasks.
            pub fn split(&mut self) -> ($crate::net::ReadHalf<'_, $face>, $crate::net::WriteHalf<'_, $face>) {
                $crate::net::split::split(self)
            }

            /// The two directions as objects of their own. Dropping the writing one ends the stream towards the peer.
            pub fn into_split(self) -> ($crate::net::OwnedReadHalf<$face>, $crate::net::OwnedWriteHalf<$face>) {
                $crate::net::split::into_split(self)
            }
        }

        impl $crate::net::split::Sealed for $face {
            type Std = $std;

            fn stream(&self) -> &$crate::net::stream::Stream<$std> {
                &self.inner
            }
        }

        impl $crate::net::StreamSocket for $face {}

        async_read!(impl [] for $face, |this| &this.inner);
        async_read!(impl [] for &$face, |this| &this.inner);
        async_write!(impl [] for $face, |this| &this.inner);
        async_write!(impl [] for &$face, |this| &this.inner);
    };
}

/// `AsyncRead` through the `Stream` that is reached by `$stream`.
macro_rules! async_read {
    (impl [$($generics:tt)*] for $type:ty, |$this:ident| $stream:expr) => {
        impl<$($generics)*> ::futures_io::AsyncRead for $type {
            fn poll_read(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &mut [u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                let $this = &*self;
                $stream.poll_read(cx, buf)
            }

            fn poll_read_vectored(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bufs: &mut [::std::io::IoSliceMut<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                let $this = &*self;
                $stream.poll_read_vectored(cx, bufs)
            }
        }
    };
}

/// `AsyncWrite` through the `Stream` that is reached by `$stream`.
macro_rules! async_write {
    (impl [$($generics:tt)*] for $type:ty, |$this:ident| $stream:expr) => {
        impl<$($generics)*> ::futures_io::AsyncWrite for $type {
            fn poll_write(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                buf: &[u8],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                let $this = &*self;
                $stream.poll_write(cx, buf)
            }

            fn poll_write_vectored(
                self: ::std::pin::Pin<&mut Self>,
                cx: &mut ::std::task::Context<'_>,
                bufs: &[::std::io::IoSlice<'_>],
            ) -> ::std::task::Poll<::std::io::Result<usize>> {
                let $this = &*self;
                $stream.poll_write_vectored(cx, bufs)
            }

            /// Nothing to do: the system has every byte that a write reported.
            fn poll_flush(self: ::std::pin::Pin<&mut Self>, _: &mut ::std::task::Context<'_>) -> ::std::task::Poll<::std::io::Result<()>> {
                ::std::task::Poll::Ready(Ok(()))
            }

            /// Ends the stream towards the peer; reading goes on.
            fn poll_close(self: ::std::pin::Pin<&mut Self>, _: &mut ::std::task::Context<'_>) -> ::std::task::Poll<::std::io::Result<()>> {
                let $this = &*self;
                $stream.poll_close()
            }
        }
    };
}

/// What datagram sockets have on top of [`socket_face!`].
macro_rules! datagram_face {
    ($face:ident, std: $std:ty, address: $address:ty) => {
        socket_face!($face, std: $std, address: $address);

        impl $face {
            /// `socket` is in non-blocking mode.
            fn from_nonblocking(socket: $std, made_at: &'static ::std::panic::Location<'static>) -> $face {
                $face {
                    inner: $crate::net::datagram::Datagrams::new(socket, made_at),
                }
            }

            /// The address that this socket is connected to.
            ///
            /// # Errors
            ///
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) if it is not.
            pub fn peer_addr(&self) -> ::std::io::Result<$address> {
                self.inner.get_ref().peer_addr()
            }

            /// Receives a datagram. What does not fit into `buf` is lost.
            ///
            /// # Cancel safety
            ///
            /// Loses nothing.
            #[track_caller]
            pub fn recv<'a>(&'a self, buf: &'a mut [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send + use<'a> {
                self.inner.receive(::std::panic::Location::caller(), move |socket| socket.recv(buf))
            }

            /// Receives a datagram and tells who sent it. See [`recv`](Self::recv).
            #[track_caller]
            pub fn recv_from<'a>(
                &'a self,
                buf: &'a mut [u8],
            ) -> impl ::std::future::Future<Output = ::std::io::Result<(usize, $address)>> + Send + use<'a> {
                self.inner.receive(::std::panic::Location::caller(), move |socket| socket.recv_from(buf))
            }

            /// Sends a datagram to the address that this socket is connected to.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it has sent nothing.
            #[track_caller]
            pub fn send<'a>(&'a self, buf: &'a [u8]) -> impl ::std::future::Future<Output = ::std::io::Result<usize>> + Send + use<'a> {
                self.inner.send(::std::panic::Location::caller(), move |socket| socket.send(buf))
            }

            /// As [`recv`](Self::recv), without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) if there is no datagram.
            pub fn try_recv(&self, buf: &mut [u8]) -> ::std::io::Result<usize> {
                self.inner.try_receive(|socket| socket.recv(buf))
            }

            /// As [`recv_from`](Self::recv_from), without waiting. See [`try_recv`](Self::try_recv).
            pub fn try_recv_from(&self, buf: &mut [u8]) -> ::std::io::Result<(usize, $address)> {
                self.inner.try_receive(|socket| socket.recv_from(buf))
            }

            /// As [`send`](Self::send), without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) if the system takes no datagram now.
            pub fn try_send(&self, buf: &[u8]) -> ::std::io::Result<usize> {
                self.inner.try_send(|socket| socket.send(buf))
            }

            /// Ends receiving, sending, or both.
            ///
            /// # Errors
            ///
            /// [`NotConnected`](std::io::ErrorKind::NotConnected) if the socket is not connected.
            pub fn shutdown(&self, how: ::std::net::Shutdown) -> ::std::io::Result<()> {
                ::socket2::SockRef::from(self.inner.get_ref()).shutdown(how)
            }
        }
    };
}

/// What listeners have on top of [`socket_face!`].
macro_rules! listener_face {
    ($face:ident, std: $std:ty, address: $address:ty, stream: $stream:ident, accept: $accept:path) => {
        socket_face!($face, std: $std, address: $address);

        impl $face {
            /// `socket` is in non-blocking mode.
            fn from_nonblocking(socket: $std, made_at: &'static ::std::panic::Location<'static>) -> $face {
                $face {
                    inner: $crate::net::listener::Listener::new(socket, made_at),
                }
            }

            /// Waits for a connection. Gives it with the address of its other side.
            ///
            /// # Errors
            ///
            /// Those of the operating system, such as too many open files. The listener stays usable.
            ///
            /// # Cancel safety
            ///
            /// Dropped before it is ready, it has accepted nothing.
            #[track_caller]
            pub fn accept(&self) -> impl ::std::future::Future<Output = ::std::io::Result<($stream, $address)>> + Send + '_ {
                let called_at = ::std::panic::Location::caller();
                self.inner
                    .accept(called_at, move |socket| $accept(socket).map(|(socket, peer)| ($stream::from_nonblocking(socket, called_at), peer)))
            }

            /// As [`accept`](Self::accept), for hand-written futures: only the task that polled last is woken.
            #[track_caller]
            pub fn poll_accept(&self, cx: &mut ::std::task::Context<'_>) -> ::std::task::Poll<::std::io::Result<($stream, $address)>> {
                let called_at = ::std::panic::Location::caller();
                self.inner
                    .poll_accept(cx, |socket| $accept(socket).map(|(socket, peer)| ($stream::from_nonblocking(socket, called_at), peer)))
            }

            /// As [`accept`](Self::accept), without waiting.
            ///
            /// # Errors
            ///
            /// [`WouldBlock`](std::io::ErrorKind::WouldBlock) if there is no connection.
            #[track_caller]
            pub fn try_accept(&self) -> ::std::io::Result<($stream, $address)> {
                let (socket, peer) = self.inner.try_accept($accept)?;
                Ok(($stream::from_nonblocking(socket, ::std::panic::Location::caller()), peer))
            }

            /// The connections as a stream that never ends. Errors come as items and do not end it.
            pub fn incoming(&self) -> $crate::net::Incoming<'_, $face> {
                $crate::net::Incoming::new(self)
            }
        }

        impl $crate::net::incoming::Sealed for $face {
            type Connection = $stream;
            type Address = $address;

            fn poll_accept_from(&self, cx: &mut ::std::task::Context<'_>) -> ::std::task::Poll<::std::io::Result<($stream, $address)>> {
                self.poll_accept(cx)
            }

            fn poll_acceptable(&self, cx: &mut ::std::task::Context<'_>) -> ::std::task::Poll<::std::io::Result<()>> {
                self.inner.poll_acceptable(cx)
            }
        }

        impl $crate::net::Accept for $face {}
    };
}

pub(super) use {async_read, async_write, datagram_face, listener_face, socket_face, stream_face};
