//! Has SQLite write its log in large pieces: a file system ("VFS") that is SQLite's own but for that.
//!
//! SQLite writes each page of a commit to the write-ahead log by itself, and its header before it:
//! some eighteen system calls a booking, which were a seventh of what one costs, and each made the
//! kernel take up a page of the file again. What is written side by side is kept here until SQLite
//! asks for it to be on disk; with `synchronous=FULL` it does so at the end of every commit,
//! before it tells anybody of it. An error that a write would have told is told there, which fails
//! the commit.
//!
//! A connection that is opened with it must therefore be `synchronous=FULL`, and must not write
//! pages of a transaction that is not yet committed (`cache_spill=OFF`): nothing would write them
//! out before another connection writes to the same place.
//!
//! The code is unsafe because SQLite takes a file system as a table of C functions.
//! Therefore [`write_out`], which asks the system to write a file, is here too.
#![expect(unsafe_code, reason = "SQLite calls a file system through C")]

use std::ffi::{CStr, c_int, c_void};
use std::fs::File;
use std::io;
use std::os::fd::AsRawFd;
use std::sync::Once;
use std::sync::atomic::{AtomicPtr, Ordering};
use std::{ptr, slice};

use rusqlite::ffi;

/// What [`rusqlite::Connection::open_with_flags_and_vfs`] knows it by.
pub(super) const NAME: &CStr = c"bookbell";

/// As much as SQLite's own file system writes at once, 128 KiB but for a byte: it takes the length
/// modulo that.
const PIECE: usize = 0x1_ffff;

/// Room for a pointer in what SQLite keeps of an open file, in bytes.
const ROOM: c_int = 8;

/// SQLite's own file system; set before ours is known to SQLite.
static ORIGINAL: AtomicPtr<ffi::sqlite3_vfs> = AtomicPtr::new(ptr::null_mut());

/// An open log.
struct Log {
    /// What SQLite calls: its own functions, but for those below.
    methods: ffi::sqlite3_io_methods,
    /// SQLite's own functions.
    original: ffi::sqlite3_io_methods,
    /// What was written last and is not yet in the file.
    pending: Vec<u8>,
    /// Where in the file that begins, in bytes.
    start: i64,
}

/// Has the system write what it keeps of a stretch of a file, in bytes, and waits for it. That
/// paces it, and makes nothing durable: `File::sync_data` afterwards does. Where there is no such
/// call it does nothing.
///
/// # Errors
/// When the disk fails; the system says so once.
pub(super) fn write_out(file: &File, start: u64, length: u64) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    {
        let whole = libc::SYNC_FILE_RANGE_WAIT_BEFORE
            | libc::SYNC_FILE_RANGE_WRITE
            | libc::SYNC_FILE_RANGE_WAIT_AFTER;
        let (start, length) = (start.cast_signed(), length.cast_signed());
        // SAFETY: it takes numbers alone, and the file is open.
        let failed = unsafe { libc::sync_file_range(file.as_raw_fd(), start, length, whole) } != 0;
        let error = io::Error::last_os_error();
        let unknown = [libc::ENOSYS, libc::EPERM, libc::EINVAL].map(Some);
        if failed && !unknown.contains(&error.raw_os_error()) {
            return Err(error);
        }
    }
    Ok(())
}

/// Makes it known to SQLite, once in a process.
pub(super) fn register() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        // SAFETY: SQLite's own file system lives as long as the process, and so does the copy of
        // it, which is never freed.
        unsafe {
            let original = ffi::sqlite3_vfs_find(ptr::null());
            if original.is_null() {
                // SQLite then says that there is none of our name.
                return;
            }
            ORIGINAL.store(original, Ordering::Release);
            let mut copy = *original;
            copy.zName = NAME.as_ptr();
            copy.szOsFile += ROOM;
            copy.xOpen = Some(open);
            ffi::sqlite3_vfs_register(Box::into_raw(Box::new(copy)), 0);
        }
    });
}

/// Opens a file as SQLite does, and makes a [`Log`] of it if it is one.
unsafe extern "C" fn open(
    _: *mut ffi::sqlite3_vfs,
    name: ffi::sqlite3_filename,
    file: *mut ffi::sqlite3_file,
    flags: c_int,
    out: *mut c_int,
) -> c_int {
    let vfs = ORIGINAL.load(Ordering::Acquire);
    // SAFETY: the arguments are passed on as they are; an opened file has its functions.
    unsafe {
        let opened = match (*vfs).xOpen {
            Some(open) => open(vfs, name, file, flags, out),
            None => ffi::SQLITE_CANTOPEN,
        };
        if opened == ffi::SQLITE_OK && flags & ffi::SQLITE_OPEN_WAL != 0 {
            let log = Box::into_raw(Box::new(Log::of(*(*file).pMethods)));
            *slot(file) = log;
            (*file).pMethods = &raw const (*log).methods;
        }
        opened
    }
}

/// Where the pointer to a file's [`Log`] lies: behind what SQLite's own file system keeps.
///
/// # Safety
/// `file` was opened with ours, which asked for the room.
unsafe fn slot(file: *mut ffi::sqlite3_file) -> *mut *mut Log {
    let vfs = ORIGINAL.load(Ordering::Acquire);
    // SAFETY: as above.
    unsafe { file.byte_offset((*vfs).szOsFile as isize).cast() }
}

/// A file's [`Log`].
///
/// # Safety
/// `open` made one of it, and it is not closed. SQLite calls from one thread at a time.
unsafe fn log<'f>(file: *mut ffi::sqlite3_file) -> &'f mut Log {
    // SAFETY: as above.
    unsafe { &mut **slot(file) }
}

impl Log {
    fn of(original: ffi::sqlite3_io_methods) -> Self {
        let mut methods = original;
        methods.xClose = Some(close);
        methods.xRead = Some(read);
        methods.xWrite = Some(write);
        methods.xTruncate = Some(truncate);
        methods.xSync = Some(sync);
        methods.xFileSize = Some(file_size);
        let pending = Vec::with_capacity(PIECE);
        let start = 0;
        Self {
            methods,
            original,
            pending,
            start,
        }
    }

    /// Whether so many bytes there go on from what is kept back, and fit into one write with it.
    fn takes(&self, at: i64, length: usize) -> bool {
        let kept = self.pending.len();
        self.start + i64::try_from(kept).unwrap_or(i64::MAX) == at && kept + length <= PIECE
    }

    /// Writes what is kept back into the file, and keeps nothing, as SQLite does when a write
    /// fails. Answers SQLite's code.
    ///
    /// # Safety
    /// `file` is the log's.
    unsafe fn flush(&mut self, file: *mut ffi::sqlite3_file) -> c_int {
        let written = match (self.original.xWrite, c_int::try_from(self.pending.len())) {
            (_, Ok(0)) => ffi::SQLITE_OK,
            // SAFETY: SQLite's own function gets SQLite's own file and as many bytes as there are.
            (Some(write), Ok(length)) => unsafe {
                write(file, self.pending.as_ptr().cast(), length, self.start)
            },
            _ => ffi::SQLITE_IOERR_WRITE,
        };
        self.pending.clear();
        written
    }
}

/// Flushes a log, and does with it what SQLite does.
///
/// # Safety
/// As for [`log`].
unsafe fn flushed(
    file: *mut ffi::sqlite3_file,
    then: impl FnOnce(&ffi::sqlite3_io_methods) -> Option<c_int>,
) -> c_int {
    // SAFETY: as above.
    unsafe {
        let log = log(file);
        match log.flush(file) {
            ffi::SQLITE_OK => then(&log.original).unwrap_or(ffi::SQLITE_IOERR),
            failed => failed,
        }
    }
}

unsafe extern "C" fn write(
    file: *mut ffi::sqlite3_file,
    data: *const c_void,
    length: c_int,
    at: i64,
) -> c_int {
    // SAFETY: SQLite gives a log that `open` made, and so many bytes.
    unsafe {
        let log = log(file);
        let data = slice::from_raw_parts(data.cast::<u8>(), length.unsigned_abs() as usize);
        if !log.takes(at, data.len()) {
            let written = log.flush(file);
            if written != ffi::SQLITE_OK {
                return written;
            }
            log.start = at;
        }
        log.pending.extend_from_slice(data);
    }
    ffi::SQLITE_OK
}

unsafe extern "C" fn read(
    file: *mut ffi::sqlite3_file,
    into: *mut c_void,
    length: c_int,
    at: i64,
) -> c_int {
    // SAFETY: SQLite gives a log that `open` made; the rest is passed on.
    unsafe { flushed(file, |own| Some(own.xRead?(file, into, length, at))) }
}

unsafe extern "C" fn truncate(file: *mut ffi::sqlite3_file, size: i64) -> c_int {
    // SAFETY: as in `read`.
    unsafe { flushed(file, |own| Some(own.xTruncate?(file, size))) }
}

unsafe extern "C" fn sync(file: *mut ffi::sqlite3_file, flags: c_int) -> c_int {
    // SAFETY: as in `read`.
    unsafe { flushed(file, |own| Some(own.xSync?(file, flags))) }
}

unsafe extern "C" fn file_size(file: *mut ffi::sqlite3_file, size: *mut i64) -> c_int {
    // SAFETY: as in `read`.
    unsafe { flushed(file, |own| Some(own.xFileSize?(file, size))) }
}

/// Closes it also when what is kept back cannot be written.
unsafe extern "C" fn close(file: *mut ffi::sqlite3_file) -> c_int {
    // SAFETY: SQLite gives a log that `open` made, and does not use it again.
    unsafe {
        let mut log = Box::from_raw(*slot(file));
        let written = log.flush(file);
        let closed = log.original.xClose.map_or(ffi::SQLITE_OK, |own| own(file));
        if written == ffi::SQLITE_OK {
            closed
        } else {
            written
        }
    }
}
