//! Control connections: who is at the other end, how long what they asked for lives, and how much they may have.

mod cancel;
mod crash;
mod flood;
mod lives;
mod quotas;
mod users;
