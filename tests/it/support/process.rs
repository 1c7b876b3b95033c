//! What the system knows of a process: its memory, its writes and its sockets.

use std::collections::HashSet;

/// The sockets that a process holds, by inode.
pub fn open_sockets(pid: u32) -> HashSet<String> {
    let files = std::fs::read_dir(format!("/proc/{pid}/fd")).unwrap();
    let links = files.filter_map(|file| std::fs::read_link(file.ok()?.path()).ok());
    let names = links.map(|link| link.display().to_string());
    names.filter(|name| name.starts_with("socket:")).collect()
}

/// How much memory a process has in use, in MiB.
pub fn resident_mib(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = resident.unwrap().trim().trim_end_matches(" kB");
    kib.parse::<u64>().unwrap() / 1024
}

/// How often this thread has asked the system to write something.
pub fn writes_of_this_thread() -> u64 {
    calls_of_this_thread("syscw: ")
}

/// How often it has asked the system to read something.
pub fn reads_of_this_thread() -> u64 {
    calls_of_this_thread("syscr: ")
}

fn calls_of_this_thread(name: &str) -> u64 {
    let io = std::fs::read_to_string("/proc/thread-self/io").unwrap();
    let calls = io.lines().find_map(|line| line.strip_prefix(name));
    calls.unwrap().parse().unwrap()
}

/// How many of these connections the server's process still holds, by the ports of their clients.
/// One that it closed is gone, or belongs to no file any more.
pub fn held(server_port: u16, client_ports: &[u16]) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let port = |address: &str| u16::from_str_radix(address.split(':').nth(1)?, 16).ok();
    let is_held = |line: &&str| {
        let columns: Vec<&str> = line.split_whitespace().collect();
        let client = port(columns[2]).is_some_and(|port| client_ports.contains(&port));
        client && port(columns[1]) == Some(server_port) && columns[9] != "0"
    };
    table.lines().skip(1).filter(is_held).count()
}
