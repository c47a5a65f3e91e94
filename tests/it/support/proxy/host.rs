//! The thread that a proxy lives on: accepts connections until the proxy is dropped.

use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;

use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::oneshot;

/// What the kernel may keep for a proxy that has not read it yet: enough for full speed, little
/// enough that a slow line is felt at its other end.
const RECEIVE_BUFFER_BYTES: u32 = 512 << 10;

/// A listener on a thread of its own.
pub(super) struct Host {
    address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Host {
    /// Listens at a free port; each connection is given to `serve`.
    pub(super) fn start<Served>(serve: impl Fn(TcpStream) -> Served + Send + 'static) -> Self
    where
        Served: Future<Output = ()> + Send + 'static,
    {
        let (stop, stopped) = oneshot::channel();
        let (announce, announced) = mpsc::channel();
        let thread = std::thread::Builder::new().name("proxy".to_owned());
        let thread = thread.spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.unwrap().block_on(async move {
                let socket = socket();
                socket.bind(SocketAddr::from(([127, 0, 0, 1], 0))).unwrap();
                let listener = socket.listen(1024).unwrap();
                announce.send(listener.local_addr().unwrap()).unwrap();
                let accept = async {
                    loop {
                        let (connection, _) = listener.accept().await.unwrap();
                        connection.set_nodelay(true).unwrap();
                        tokio::spawn(serve(connection));
                    }
                };
                tokio::select! { _ = stopped => {}, () = accept => {} }
            });
        });
        let thread = Some(thread.unwrap());
        Self { address: announced.recv().unwrap(), stop: Some(stop), thread }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
            && !std::thread::panicking()
        {
            panic!("a proxy's thread panicked");
        }
    }
}

/// A connection to `upstream`; none if nobody listens there.
pub(super) async fn connect(upstream: SocketAddr) -> Option<TcpStream> {
    let connection = socket().connect(upstream).await.ok()?;
    connection.set_nodelay(true).unwrap();
    Some(connection)
}

/// Hangs up without a farewell: the peer's next call fails with "connection reset".
pub(super) fn reset(connection: TcpStream) {
    // If it fails the connection is gone already.
    connection.set_zero_linger().unwrap_or_default();
    drop(connection);
}

fn socket() -> TcpSocket {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(RECEIVE_BUFFER_BYTES).unwrap();
    socket
}
