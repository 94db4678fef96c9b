//! A mail server that takes every mail and keeps it.

use std::{
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;

use crate::host::wait_for;

/// Listens as long as the test lives: its thread waits for the next mail, and ends with the process.
pub struct MailServer {
    port: u16,
    mails: Arc<Mutex<Vec<String>>>,
}

impl MailServer {
    /// On a free port of the loopback address.
    pub fn start() -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a port");
        let port = listener.local_addr().expect("its number").port();
        let mails = Arc::<Mutex<Vec<String>>>::default();
        let kept = Arc::clone(&mails);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                // A client that breaks off has sent no mail.
                let _ = talk(&stream, &kept);
            }
        });
        Self { port, mails }
    }

    /// Its address as the value of an `EMAIL_URL`.
    pub fn url(&self) -> String {
        format!("smtp://127.0.0.1:{}", self.port)
    }

    /// Waits for a mail to this address: its head and text, as they came.
    #[track_caller]
    pub fn mail_to(&self, address: &str) -> String {
        let line = format!("\nTo: {address}\n");
        wait_for(&format!("a mail to {address}"), Duration::from_secs(60), || {
            self.mails.lock().iter().find(|mail| mail.contains(&line)).cloned()
        })
    }
}

/// One conversation of RFC 5321, without extensions.
fn talk(stream: &TcpStream, mails: &Mutex<Vec<String>>) -> std::io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    let (mut answers, mut lines) = (stream, BufReader::new(stream).lines());
    answers.write_all(b"220 test\r\n")?;
    while let Some(line) = lines.next().transpose()? {
        let answer = match line.split(' ').next().unwrap_or_default().to_ascii_uppercase().as_str() {
            "DATA" => {
                answers.write_all(b"354 go on\r\n")?;
                let mut mail = String::new();
                while let Some(line) = lines.next().transpose()?.filter(|line| line != ".") {
                    mail.push_str(&line);
                    mail.push('\n');
                }
                mails.lock().push(mail);
                "250 taken\r\n"
            }
            "QUIT" => return answers.write_all(b"221 bye\r\n"),
            _ => "250 well\r\n",
        };
        answers.write_all(answer.as_bytes())?;
    }
    Ok(())
}
