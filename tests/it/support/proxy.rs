//! A TCP proxy between clients and a server, whose line can be cut.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// What becomes of the connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Line {
    /// It carries what is sent. Each time it comes up again it has another number, so that no
    /// connection outlives a cut that it did not notice.
    Up(u32),
    /// As `Up`, and those that were there before carry nothing any more, without being told.
    Forgetful(u32),
    /// What either side sends is taken and goes nowhere; neither side is told.
    Silent,
    /// Connections are reset, and new ones too.
    Down,
}

impl Line {
    /// The number of the connections that it carries.
    fn number(self) -> Option<u32> {
        match self {
            Self::Up(number) | Self::Forgetful(number) => Some(number),
            Self::Silent | Self::Down => None,
        }
    }
}

/// A proxy, with every connection that goes through it.
pub struct Proxy {
    pub url: String,
    line: watch::Sender<Line>,
    target: Arc<Mutex<String>>,
}

impl Proxy {
    /// Listens on a port of its own and leads to the server at `url`.
    pub async fn start(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = format!("http://{}", listener.local_addr().unwrap());
        let (line, state) = watch::channel(Line::Up(0));
        let target = Arc::new(Mutex::new(address(url)));
        let leads_to = Arc::clone(&target);
        tokio::spawn(async move {
            // Ends with the proxy: with it goes the sender.
            while state.has_changed().is_ok() {
                let Ok((client, _)) = listener.accept().await else {
                    return;
                };
                let target = leads_to.lock().unwrap().clone();
                tokio::spawn(carry(client, target, state.clone()));
            }
        });
        Self {
            url: own,
            line,
            target,
        }
    }

    /// Leads new connections to another server.
    pub fn lead_to(&self, url: &str) {
        *self.target.lock().unwrap() = address(url);
    }

    /// Has every connection carry nothing any more, without a word to either side, while new ones
    /// work: what a firewall does that has forgotten them.
    pub fn forget(&self) {
        self.line.send_modify(|line| {
            *line = Line::Forgetful(line.number().expect("it is up") + 1);
        });
    }

    /// Cuts every connection for a while: at first what is sent is lost without a word, as on a
    /// dead line, then both sides are told.
    pub async fn cut(&self, silent: Duration, down: Duration) {
        let before = self.line.send_replace(Line::Silent);
        let times = before.number().expect("it is cut already");
        tokio::time::sleep(silent).await;
        self.line.send_replace(Line::Down);
        tokio::time::sleep(down).await;
        self.line.send_replace(Line::Up(times + 1));
    }
}

fn address(url: &str) -> String {
    url.trim_start_matches("http://").to_owned()
}

async fn carry(mut client: TcpStream, target: String, line: watch::Receiver<Line>) {
    let _ = client.set_zero_linger();
    let Some(own) = line.borrow().number() else {
        return;
    };
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let _ = server.set_zero_linger();
    let mut down = line.clone();
    {
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        let up = pump(&mut from_client, &mut to_server, &line, own);
        let back = pump(&mut from_server, &mut to_client, &line, own);
        tokio::select! {
            () = async { tokio::join!(up, back); } => {}
            _ = down.wait_for(|line| match line {
                Line::Up(number) => *number != own,
                Line::Down => true,
                Line::Silent | Line::Forgetful(_) => false,
            }) => return,
        }
    }
    // Both ended by themselves: the last bytes are to arrive.
    let _ = socket2::SockRef::from(&client).set_linger(None);
}

/// Carries bytes one way until their end.
async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    line: &watch::Receiver<Line>,
    own: u32,
) {
    let mut buffer = vec![0; 16 << 10];
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        if line.borrow().number() == Some(own) && to.write_all(&buffer[..n]).await.is_err() {
            return;
        }
    }
    let _ = to.shutdown().await;
}
