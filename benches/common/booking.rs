//! The bodies that are posted: one booking after another, each by a new person, signed.
//!
//! Everything is laid out once. For each post only the bytes that differ are written over in
//! place, so that the load costs little beside the server.

use std::io::Write as _;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use anyhow::Context as _;
use bookbell::domain::clock::{Clock as _, SystemClock};
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;
use uuid::Builder;

/// What the server under test verifies with.
pub(crate) const SIGNING_KEY: &str = "bench-signing-key-of-no-value";

/// The hosts of the bookings, as many each; the last is no user, so a quarter is unassigned.
pub(crate) const HOSTS: [Host; 4] = [
    Host::new("host-1", "7c1de0b4-2f0a-4f43-9d0e-0c54b1a90011"),
    Host::new("host-2", "7c1de0b4-2f0a-4f43-9d0e-0c54b1a90012"),
    Host::new("host-3", "7c1de0b4-2f0a-4f43-9d0e-0c54b1a90013"),
    Host::new("absent", "7c1de0b4-2f0a-4f43-9d0e-0c54b1a90014"),
];

/// How many of [`HOSTS`] are made users.
pub(crate) const KNOWN_HOSTS: usize = 3;

/// Every e-mail address of a person in a booking begins so; the booking's key follows.
pub(crate) const GUEST: &str = "guest.";

const BODY: &str = include_str!("booking.json");
const FIRST_NAMES: [&str; 8] = [
    "Alice", "Bruno", "Chloe", "David", "Elena", "Farid", "Grace", "Henri",
];
const LAST_NAMES: [&str; 8] = [
    "Abbott", "Becker", "Carter", "Dubois", "Easton", "Farrow", "Garcia", "Hansen",
];

/// Meetings begin at any half hour of the next 30 days.
const HALF_HOURS: usize = 30 * 48;
const HALF_HOUR_S: i64 = 30 * 60;

/// How many keys are tried for one of a certain host: a quarter of all keys are.
const TRIES: u64 = 128;
/// Where the numbers of bookings with a certain host begin.
const HOSTS_FIRST: u64 = 1 << 48;

/// `2026-11-20T08:00:00.000000Z`, as Calendly writes times.
const STAMP_LEN: usize = 27;
const SECONDS_LEN: usize = "2026-11-20T08:00:00".len();
const UUID_LEN: usize = 36;
const KEY_LEN: usize = 16;
const T_LEN: usize = 10;
const MAC_LEN: usize = 64;

/// Somebody who holds meetings.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    /// The name, and the part of the e-mail address before the `@`.
    pub(crate) name: &'static str,
    id: &'static str,
}

impl Host {
    const fn new(name: &'static str, id: &'static str) -> Self {
        Self { name, id }
    }

    /// The e-mail address.
    pub(crate) fn email(&self) -> String {
        format!("{}@bench.example", self.name)
    }

    /// The address of the person in Calendly.
    pub(crate) fn calendly_uri(&self) -> String {
        format!("https://api.calendly.com/users/{}", self.id)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Stamp,
    Start,
    End,
    EventId,
    InviteeId,
    Key,
    First,
    Last,
    HostId,
    Host,
}

impl Field {
    fn parse(name: &str) -> anyhow::Result<(Self, usize)> {
        Ok(match name {
            "stamp" => (Self::Stamp, STAMP_LEN),
            "start" => (Self::Start, STAMP_LEN),
            "end" => (Self::End, STAMP_LEN),
            "event_id" => (Self::EventId, UUID_LEN),
            "invitee_id" => (Self::InviteeId, UUID_LEN),
            "key" => (Self::Key, KEY_LEN),
            "first" => (Self::First, FIRST_NAMES[0].len()),
            "last" => (Self::Last, LAST_NAMES[0].len()),
            "host_id" => (Self::HostId, UUID_LEN),
            "host" => (Self::Host, HOSTS[0].name.len()),
            other => anyhow::bail!("booking.json names an unknown field {other}"),
        })
    }
}

/// A field and where it stands.
type Place = (Field, Range<usize>);

/// One sender's request, rewritten for every post.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    bytes: Vec<u8>,
    fields: Arc<[Place]>,
    half_hours: Arc<[String]>,
    t: Range<usize>,
    mac: Range<usize>,
    body_at: usize,
    keyed: Hmac<Sha256>,
    now: Now,
}

impl Request {
    /// Lays out the request for the server at this address.
    pub(crate) fn new(server: SocketAddr) -> anyhow::Result<Self> {
        let (body, mut fields) = lay_out(BODY)?;
        let mut bytes = format!(
            "POST /webhooks/calendly HTTP/1.1\r\nHost: {server}\r\nUser-Agent: bookbell-bench\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\n\
             Calendly-Webhook-Signature: t=",
            body.len()
        )
        .into_bytes();
        let t = grow(&mut bytes, T_LEN);
        bytes.extend_from_slice(b",v1=");
        let mac = grow(&mut bytes, MAC_LEN);
        bytes.extend_from_slice(b"\r\n\r\n");
        let body_at = bytes.len();
        bytes.extend_from_slice(&body);
        for (_, range) in &mut fields {
            *range = range.start + body_at..range.end + body_at;
        }
        let now = Now::new()?;
        Ok(Self {
            bytes,
            fields: fields.into(),
            half_hours: half_hours(now.second_s)?.into(),
            t,
            mac,
            body_at,
            keyed: Hmac::new_from_slice(SIGNING_KEY.as_bytes())?,
            now,
        })
    }

    /// The length of a body in bytes.
    pub(crate) fn body_len(&self) -> usize {
        self.bytes.len() - self.body_at
    }

    /// The request for the booking with this key, signed as of now.
    pub(crate) fn write(&mut self, key: u64) -> anyhow::Result<&[u8]> {
        let stamp = self.now.stamp()?;
        self.write_body(key, &stamp);
        write!(&mut self.bytes[self.t.clone()], "{}", self.now.second_s)?;
        let mut mac = self.keyed.clone();
        mac.update(&self.bytes[self.t.clone()]);
        mac.update(b".");
        mac.update(&self.bytes[self.body_at..]);
        let digest = mac.finalize().into_bytes();
        hex::encode_to_slice(digest, &mut self.bytes[self.mac.clone()])?;
        Ok(&self.bytes)
    }

    /// The body of the booking with this key, as of now.
    pub(crate) fn body(&mut self, key: u64) -> anyhow::Result<&[u8]> {
        let stamp = self.now.stamp()?;
        self.write_body(key, &stamp);
        Ok(&self.bytes[self.body_at..])
    }

    fn write_body(&mut self, key: u64, stamp: &[u8; STAMP_LEN]) {
        let event_id = uuid_of(key, 1);
        let invitee_id = uuid_of(key, 2);
        let mut digits = [0; KEY_LEN];
        hex::encode_to_slice(key.to_be_bytes(), &mut digits).expect("16 digits for 8 bytes");
        let choice = |salt, count| choose(scramble(key ^ salt), count);
        let start = choice(3, HALF_HOURS);
        let host = &HOSTS[host_of(key)];
        let first = FIRST_NAMES[choice(5, FIRST_NAMES.len())];
        let last = LAST_NAMES[choice(6, LAST_NAMES.len())];
        for (field, range) in self.fields.iter() {
            let value = match field {
                Field::Stamp => stamp,
                Field::Start => self.half_hours[start].as_bytes(),
                Field::End => self.half_hours[start + 1].as_bytes(),
                Field::EventId => &event_id,
                Field::InviteeId => &invitee_id,
                Field::Key => &digits,
                Field::First => first.as_bytes(),
                Field::Last => last.as_bytes(),
                Field::HostId => host.id.as_bytes(),
                Field::Host => host.name.as_bytes(),
            };
            self.bytes[range.clone()].copy_from_slice(value);
        }
    }
}

/// The key of the n-th booking: no two alike, and in no order, as with Calendly's own ids, which
/// an index on them feels.
pub(crate) fn key_of(n: u64) -> u64 {
    scramble(n)
}

/// The key of the n-th booking with this host, by the index in [`HOSTS`]; of any host when there
/// is none. Hosts' bookings have keys of their own, apart from those of [`key_of`].
pub(crate) fn key_for(n: u64, host: Option<usize>) -> u64 {
    let Some(host) = host else {
        return key_of(n);
    };
    let keys = (0..TRIES).map(|nth| key_of(HOSTS_FIRST + n * TRIES + nth));
    keys.into_iter()
        .find(|key| host_of(*key) == host)
        .unwrap_or_else(|| key_of(HOSTS_FIRST + n * TRIES))
}

/// Which of [`HOSTS`] the booking with this key is with.
pub(crate) fn host_of(key: u64) -> usize {
    choose(scramble(key ^ 4), HOSTS.len())
}

/// The key in a guest's e-mail address.
pub(crate) fn key_in(email: &str) -> Option<u64> {
    let digits = email.strip_prefix(GUEST)?.get(..KEY_LEN)?;
    u64::from_str_radix(digits, 16).ok()
}

/// `SplitMix64`: every number to another one, none twice.
fn scramble(n: u64) -> u64 {
    let n = n.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn choose(random: u64, count: usize) -> usize {
    usize::try_from(random % count as u64).expect("less than a usize")
}

fn uuid_of(key: u64, salt: u64) -> [u8; UUID_LEN] {
    let random =
        (u128::from(scramble(key ^ (salt << 32))) << 64) | u128::from(scramble(!key ^ salt));
    let mut text = [0; UUID_LEN];
    Builder::from_random_bytes(random.to_be_bytes())
        .into_uuid()
        .hyphenated()
        .encode_lower(&mut text);
    text
}

fn grow(bytes: &mut Vec<u8>, len: usize) -> Range<usize> {
    let start = bytes.len();
    bytes.resize(start + len, b'0');
    start..bytes.len()
}

/// The body without the white space between its parts, and where its fields are.
fn lay_out(text: &str) -> anyhow::Result<(Vec<u8>, Vec<Place>)> {
    let lines: String = text.lines().map(str::trim_start).collect();
    let text = lines.replace("\": ", "\":");
    let mut parts = text.split("{{");
    let mut body = parts.next().unwrap_or_default().as_bytes().to_vec();
    let mut fields = Vec::new();
    for part in parts {
        let (name, rest) = part.split_once("}}").context("booking.json: no }}")?;
        let (field, len) = Field::parse(name)?;
        fields.push((field, grow(&mut body, len)));
        body.extend_from_slice(rest.as_bytes());
    }
    Ok((body, fields))
}

fn half_hours(now_s: i64) -> anyhow::Result<Vec<String>> {
    let first_s = (now_s / HALF_HOUR_S + 48) * HALF_HOUR_S;
    (0..)
        .take(HALF_HOURS + 1)
        .map(|n: i64| {
            Ok(format!(
                "{}.000000Z",
                seconds_text(first_s + n * HALF_HOUR_S)?
            ))
        })
        .collect()
}

fn seconds_text(unix_s: i64) -> anyhow::Result<String> {
    let text = format!("{:.0}", Timestamp::from_second(unix_s)?);
    Ok(text.trim_end_matches('Z').to_owned())
}

/// The time of day, written out anew once a second only.
#[derive(Debug, Clone)]
struct Now {
    started: Instant,
    started_us: i64,
    second_s: i64,
    seconds: String,
}

impl Now {
    fn new() -> anyhow::Result<Self> {
        let started_us = SystemClock.now_ms() * 1000;
        let second_s = started_us / 1_000_000;
        Ok(Self {
            started: Instant::now(),
            started_us,
            second_s,
            seconds: seconds_text(second_s)?,
        })
    }

    fn stamp(&mut self) -> anyhow::Result<[u8; STAMP_LEN]> {
        let now_us = self.started_us + i64::try_from(self.started.elapsed().as_micros())?;
        let second_s = now_us / 1_000_000;
        if second_s != self.second_s {
            self.second_s = second_s;
            self.seconds = seconds_text(second_s)?;
        }
        let mut stamp = [0; STAMP_LEN];
        stamp[..SECONDS_LEN].copy_from_slice(self.seconds.as_bytes());
        write!(&mut stamp[SECONDS_LEN..], ".{:06}Z", now_us % 1_000_000)?;
        Ok(stamp)
    }
}
