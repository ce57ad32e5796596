//! tokio-tungstenite: Python's `websockets` at the other end, as client and as server.

use std::process::Command;

use divisi_examples::websocket;
use futures_util::{SinkExt, StreamExt};
use tokio_tungstenite::tungstenite::Message;

use crate::ANY_PORT;
use crate::peers::{self, Peer, run, text};

/// Sends messages of several kinds and sizes to an echo server.
pub(crate) const ECHO_CLIENT: &str = "
import asyncio, sys, websockets
async def main():
    async with websockets.connect(sys.argv[1], max_size=None, compression=None) as socket:
        for message in '', 'hello', 'grüße', b'', b'\\x00\\xff', 'x' * 70_000, b'y' * 1_000_000:
            await socket.send(message)
            assert await socket.recv() == message
        for i in range(200):
            await socket.send(str(i))
        for i in range(200):
            assert await socket.recv() == str(i)
        await asyncio.wait_for(await socket.ping(), 30)
        await socket.close(code=1000, reason='enough')
        assert socket.close_code == 1000, socket.close_code
asyncio.run(main())
print('fine')
";

/// Echoes, and says where.
const ECHO_SERVER: &str = "
import asyncio, websockets
async def echo(socket, path=None):
    async for message in socket:
        await socket.send(message)
async def main():
    async with websockets.serve(echo, '127.0.0.1', 0, max_size=None) as server:
        print('listening on', server.sockets[0].getsockname()[1], flush=True)
        await asyncio.Future()
asyncio.run(main())
";

#[divisi::test(worker_threads = 2)]
async fn a_python_client_is_echoed() {
    let Some(python) = peers::python(&["websockets"]) else {
        return;
    };
    let (address, server) = websocket::serve(ANY_PORT).await.unwrap();
    let url = format!("ws://{address}/");
    let clients: Vec<_> = (0..4)
        .map(|_| {
            let (python, url) = (python.clone(), url.clone());
            divisi::spawn(async move { run(&python, ["-c", ECHO_CLIENT, &url], "").await })
        })
        .collect();
    for client in clients {
        assert_eq!(text(&client.await.unwrap().stdout), "fine\n");
    }
    server.cancel("the test is over");
    assert!(server.await.unwrap_err().is_cancelled());
}

#[divisi::test(worker_threads = 2)]
async fn our_client_is_echoed_by_a_python_server() {
    let Some(python) = peers::python(&["websockets"]) else {
        return;
    };
    let mut command = Command::new(&python);
    command.args(["-c", ECHO_SERVER]);
    let (_server, line) = Peer::start(&mut command, false, "listening on").unwrap();
    let port = line.rsplit(' ').next().unwrap().parse().unwrap();
    let address = (std::net::Ipv4Addr::LOCALHOST, port).into();
    let mut socket = websocket::connect(address, "/").await.unwrap();
    for size in [0, 1, 125, 126, 65_535, 65_536, 1_000_000] {
        let message = Message::binary(vec![7; size]);
        socket.send(message.clone()).await.unwrap();
        assert!(socket.next().await.unwrap().unwrap() == message);
    }
    socket.close(None).await.unwrap();
    while let Some(message) = socket.next().await {
        assert!(message.unwrap().is_close());
    }
}

#[divisi::test(worker_threads = 2)]
async fn a_client_that_speaks_no_websocket_is_an_error_and_the_server_goes_on() {
    let (address, server) = websocket::serve(ANY_PORT).await.unwrap();
    let mut stream = divisi::net::TcpStream::connect(address).await.unwrap();
    divisi::io::AsyncWriteExt::write_all(&mut stream, b"GET / HTTP/1.0\r\n\r\n")
        .await
        .unwrap();
    drop(stream);
    let mut socket = websocket::connect(address, "/").await.unwrap();
    socket.send(Message::text("still here?")).await.unwrap();
    let answer = socket.next().await.unwrap().unwrap();
    assert_eq!(answer.to_text().unwrap(), "still here?");
    socket.close(None).await.unwrap();
    while socket.next().await.is_some() {}
    server.cancel("the test is over");
}
