#!/usr/bin/env node
// Takes the vendored libraries from the npm registry anew, unchanged, checks them against
// manifest.json, and writes LICENSES.txt. No build step: what npm publishes is what browsers get.
//
//   vendor/refresh.mjs             the versions in manifest.json again; fails when a file's checksum is another one
//   vendor/refresh.mjs --latest    the newest versions instead; manifest.json says which
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';

const here = dirname(fileURLToPath(import.meta.url));
const json = (path) => JSON.parse(readFileSync(path, 'utf8'));

const manifest = json(join(here, 'manifest.json'));
const latest = process.argv.includes('--latest');
const work = mkdtempSync(join(tmpdir(), 'bookbell-vendor-'));
try {
  const specs = new Set(Object.values(manifest).map((one) => `${one.package}@${latest ? 'latest' : one.version}`));
  const options = ['--prefix', work, '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'];
  execFileSync('npm', ['install', ...options, ...specs], { stdio: 'inherit' });
  const licenses = new Map();
  for (const [file, one] of Object.entries(manifest)) {
    const folder = join(work, 'node_modules', one.package);
    const { version, license } = json(join(folder, 'package.json'));
    const bytes = readFileSync(join(folder, one.from));
    const sha256 = createHash('sha256').update(bytes).digest('hex');
    if (version === one.version && one.sha256 && sha256 !== one.sha256) {
      throw new Error(`${one.package} ${version} is not what it was: ${file} has the checksum ${sha256}`);
    }
    writeFileSync(join(here, file), bytes);
    Object.assign(one, { version, license, sha256 });
    licenses.set(`${one.package} ${version} (${license})`, readFileSync(join(folder, 'LICENSE'), 'utf8').trim());
  }
  writeFileSync(join(here, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`);
  const texts = [...licenses].map(([title, text]) => `${title}\n${'='.repeat(title.length)}\n\n${text}\n`);
  writeFileSync(join(here, 'LICENSES.txt'), texts.join('\n\n'));
} finally {
  rmSync(work, { recursive: true });
}
