#!/usr/bin/env node
// What Bookbell is measured against: the same service as a Node team would write it. It takes as
// much of Bookbell's command line and HTTP as the benchmarks need:
//
//   DATABASE_URL=sqlite://file.db   peer.mjs serve --listen 127.0.0.1:0    fastify + better-sqlite3
//   DATABASE_URL=postgres://…       peer.mjs serve --listen 127.0.0.1:0    express + pg
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { parseArgs } from 'node:util';

const { values } = parseArgs({
  allowPositionals: true,
  options: { listen: { type: 'string', default: '127.0.0.1:8080' } },
});
const [host, port] = values.listen.split(':');
const env = process.env;
const url = env.DATABASE_URL ?? 'sqlite://peer.db';

// Only for measuring: what is held, without what merely waits to be collected.
setFlagsFromString('--expose-gc');
const collect = runInNewContext('gc');
process.on('SIGUSR2', () => collect());

const { start } = await import(url.startsWith('postgres') ? './postgres.mjs' : './sqlite.mjs');
const { address, stop } = await start({
  databaseUrl: url,
  host,
  port: Number(port),
  signingKey: env.BOOKBELL_CALENDLY_SIGNING_KEYS,
  jwtSecret: env.BOOKBELL_JWT_SECRET,
  admin: { email: env.BOOKBELL_ADMIN_EMAIL, password: env.BOOKBELL_ADMIN_PASSWORD },
});
for (const signal of ['SIGTERM', 'SIGINT']) {
  process.once(signal, () => stop().then(() => process.exit(0)));
}
console.log(`listening on http://${address.address}:${address.port}`);
