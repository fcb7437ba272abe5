//! JSON documents that say more than their bytes: what is honest is read, what would fill the memory of the machine is refused before it does.
//!
//! Each is read in a process of its own, which tells how much memory it has had. Control: without the bound the list of small objects takes gigabytes.

use std::process::Command;

use goniec::transport::filter::{Document, VALUES_BYTES_MAX};

/// The row and the size, in MiB, of the document that this process is to read.
const ROW: &str = "GONIEC_ROW";
const MIB: &str = "GONIEC_MIB";

/// A list of as many of these rows as that many bytes hold.
fn list(row: &str, bytes: usize) -> Vec<u8> {
    let mut text = format!("[{}", format!("{row},").repeat(bytes / (row.len() + 1))).into_bytes();
    text.pop();
    text.push(b']');
    text
}

/// The most memory that this process has had, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("a status");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a peak");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") * 1_024
}

#[test]
fn what_says_more_than_fits_into_memory_is_refused_before_it_is_there() {
    if let (Ok(row), Ok(mib)) = (std::env::var(ROW), std::env::var(MIB)) {
        let text = list(&row, mib.parse::<usize>().expect("a size") << 20);
        let before = peak();
        let said = Document::read(&text).map_or_else(|why| why.to_string(), |_| "read".to_owned());
        println!("it {said}; {}", peak().saturating_sub(before));
        return;
    }
    for (row, mib, says) in [
        (r#"{"a":1}"#, 64, "it has so many values"),
        ("[0]", 64, "it has so many values"),
        (r#"{"a":1}"#, 16, "it read"),
        (r#"{"order_no":"100017","status":"paid","total":"129.00"}"#, 64, "it read"),
    ] {
        let name = "what_says_more_than_fits_into_memory_is_refused_before_it_is_there";
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        let ended = command.args([name, "--nocapture"]).env(ROW, row).env(MIB, mib.to_string()).output().expect("runs");
        let text = String::from_utf8_lossy(&ended.stdout);
        let line = text.lines().find(|line| line.contains("; ")).unwrap_or_else(|| panic!("{row}: {text}"));
        println!("{row}, {mib} MiB: {line}");
        assert!(line.contains(says), "{row}: {line}");
        let used: usize = line.rsplit("; ").next().expect("a number").parse().expect("a number");
        assert!(used < VALUES_BYTES_MAX / 10 * 11, "{row}: {used}");
    }
}
