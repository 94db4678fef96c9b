//! What clients ask for.

use super::{
    client::{Client, Purpose},
    keep::{MAX_CLIENTS, Shim},
};
use crate::{
    init::orders::Order,
    protocol::{Reply, Request},
};
use std::time::Duration;

impl Shim {
    /// Reads from and sends to the clients that are ready, and lets go of those that are over.
    pub(super) fn serve_clients(&mut self, ready: &[bool; MAX_CLIENTS], hung_up: &[bool; MAX_CLIENTS]) {
        for index in (0..self.clients.len()).filter(|&index| ready[index]) {
            self.clients[index].send();
            self.clients[index].receive();
            self.hear(index);
            if hung_up[index] {
                // What it sent and nobody has read comes from nobody: waiting for its end would take as
                // long as the process does not read.
                self.clients[index].end();
            }
        }
        let attached_left =
            self.clients.iter().any(|client| client.purpose == Purpose::Attached && client.has_ended());
        self.clients.retain(|client| !client.is_over() && !is_deaf(client));
        if attached_left {
            self.hang_up();
        }
    }

    fn hear(&mut self, index: usize) {
        while self.clients[index].purpose == Purpose::Requests {
            let Some(line) = self.clients[index].next_line() else { return };
            match serde_json::from_slice(&line) {
                Ok(request) => self.answer(index, &request),
                Err(bad) => self.clients[index].refuse(&format!("not a request: {bad}")),
            }
        }
        if self.clients[index].purpose == Purpose::Attached {
            self.converse(index);
        }
    }

    fn answer(&mut self, index: usize, request: &Request) {
        match *request {
            Request::Status {} => {}
            Request::Stop { grace_millis } => {
                self.begin_stop(grace_millis.map_or(self.state.upkeep.stop.grace, Duration::from_millis));
            }
            Request::Kill {} => self.begin_stop(Duration::ZERO),
            Request::Signal { number, all } => {
                let run = self.run.as_ref().filter(|_| (1..=31).contains(&number));
                let Some(run) = run else {
                    self.clients[index].refuse("nothing runs, or that is no signal");
                    return;
                };
                run.order(Order::Signal { number, all });
            }
            Request::Subscribe {} => self.clients[index].purpose = Purpose::Subscription,
            Request::Attach { terminal } => {
                self.attach(index, terminal);
                return;
            }
        }
        let state = Reply::State(Box::new(self.state.clone()));
        self.clients[index].reply(&state);
    }
}

/// An attached client that has hung up hears nothing more.
fn is_deaf(client: &Client) -> bool {
    client.purpose == Purpose::Attached && client.has_ended()
}
