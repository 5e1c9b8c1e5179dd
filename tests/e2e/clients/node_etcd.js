// Drives one server through the npm package node-etcd, which speaks the v2 API. Arguments: the package's folder,
// host:port. Exits 1 at the first surprise.
'use strict';

const assert = require('assert');
const EventEmitter = require('events');

const Etcd = require(process.argv[2]);
const endpoint = process.argv[3];
const client = new Etcd(endpoint);
const PATIENCE_MILLISECONDS = 30000;

/** The answer of a call that is to work; `call` gets the callback. */
function answer(call) {
  return new Promise((resolve, reject) => call((error, body, headers) => {
    if (error) reject(error);
    else resolve({ ...body, headers });
  }));
}

/** The error of a call that is to fail. */
function refusal(call) {
  return new Promise((resolve, reject) => call((error, body) => {
    if (error) resolve(error);
    else reject(new Error(`not refused: ${JSON.stringify(body)}`));
  }));
}

async function keysAndValues() {
  const made = await answer((done) => client.set('/node/a', '1', done));
  assert.strictEqual(made.action, 'set');
  assert.strictEqual(made.headers['x-etcd-index'], String(made.node.modifiedIndex));
  assert.strictEqual((await answer((done) => client.get('node/a', done))).node.value, '1');
  const again = await answer((done) => client.set('/node/a', '<&> ж', { prevExist: true }, done));
  assert.strictEqual(again.prevNode.value, '1');
  assert.strictEqual((await answer((done) => client.get('/node/a', { quorum: true }, done))).node.value, '<&> ж');
  assert.strictEqual((await answer((done) => client.del('/node/a', done))).action, 'delete');
  assert.strictEqual((await refusal((done) => client.get('/node/a', done))).errorCode, 100);
  assert.strictEqual(client.setSync('/node/sync', 'x').body.node.value, 'x');
  assert.strictEqual(client.getSync('/node/sync').body.node.value, 'x');
  assert.strictEqual(client.delSync('/node/sync').body.prevNode.value, 'x');
}

async function comparisons() {
  await answer((done) => client.set('/node/cas', '1', { prevExist: false }, done));
  assert.strictEqual((await refusal((done) => client.set('/node/cas', '1', { prevExist: false }, done))).errorCode, 105);
  assert.strictEqual((await refusal((done) => client.compareAndSwap('/node/cas', '2', '0', done))).errorCode, 101);
  assert.strictEqual((await answer((done) => client.testAndSet('/node/cas', '2', '1', done))).node.value, '2');
  assert.strictEqual((await refusal((done) => client.compareAndDelete('/node/cas', '1', done))).errorCode, 101);
  assert.strictEqual((await answer((done) => client.testAndDelete('/node/cas', '2', done))).action, 'compareAndDelete');
}

async function directories() {
  await answer((done) => client.mkdir('/node/dir', done));
  assert.strictEqual((await refusal((done) => client.mkdir('/node/dir', done))).errorCode, 102);
  const first = await answer((done) => client.create('/node/dir', 'first', done));
  const second = await answer((done) => client.post('/node/dir', 'second', done));
  const listing = await answer((done) => client.get('/node/dir', { recursive: true, sorted: true }, done));
  assert.deepStrictEqual(listing.node.nodes.map((node) => node.key), [first.node.key, second.node.key]);
  assert.strictEqual((await refusal((done) => client.rmdir('/node/dir', done))).errorCode, 108);
  await answer((done) => client.rmdir('/node/dir', { recursive: true }, done));
}

async function lifetimes() {
  const short = await answer((done) => client.set('/node/ttl', 'x', { ttl: 1 }, done));
  assert.strictEqual(short.node.ttl, 1);
  const expired = await answer((done) => client.watchIndex('/node/ttl', short.node.modifiedIndex + 1, done));
  assert.strictEqual(expired.action, 'expire');
}

/** A value that nobody could have seen before, again and again, until `seen` resolves. */
async function writeUntil(key, seen) {
  let over = false;
  seen.then(() => { over = true; }, () => { over = true; });
  for (let turn = 1; !over; turn++) {
    await answer((done) => client.set(key, String(turn), done));
    await new Promise((resolve) => setImmediate(resolve));
  }
  return seen;
}

async function watches() {
  const one = await writeUntil('/node/w', answer((done) => client.watch('/node/w', done)));
  assert.strictEqual(one.action, 'set');

  const watcher = client.watcher('/node/tree', null, { recursive: true });
  const changed = EventEmitter.once(watcher, 'set');
  await writeUntil('/node/tree/leaf', changed);
  const [event] = await changed;
  assert.strictEqual(event.node.key, '/node/tree/leaf');
  const deleted = EventEmitter.once(watcher, 'delete');  // it goes on from where it was
  await answer((done) => client.del('/node/tree/leaf', done));
  assert.strictEqual((await deleted)[0].node.key, '/node/tree/leaf');
  watcher.stop();

  // Of a history that is gone, a watcher gets up by itself.
  for (let i = 0; i < 1100; i++) await answer((done) => client.set('/node/w', String(i), done));
  const late = client.watcher('/node/w', one.node.modifiedIndex);
  const [resync] = await EventEmitter.once(late, 'resync');
  assert.strictEqual(resync.errorCode, 401);
  const next = EventEmitter.once(late, 'change');
  await writeUntil('/node/w', next);
  late.stop();
}

async function statistics() {
  assert.strictEqual((await answer((done) => client.selfStats(done))).state, 'StateLeader');
  assert.deepStrictEqual((await answer((done) => client.leaderStats(done))).followers, {});
  assert.match((await answer((done) => client.version(done))).etcdserver, /^3\./);
  assert.strictEqual((await answer((done) => client.raw('GET', 'v2/members', null, {}, done))).members.length, 1);
}

async function severalHosts() {
  const spread = new Etcd(['127.0.0.1:1', endpoint], { timeout: PATIENCE_MILLISECONDS });
  assert.strictEqual((await answer((done) => spread.set('/node/spread', 'x', done))).node.value, 'x');
}

async function main() {
  for (const step of [keysAndValues, comparisons, directories, lifetimes, watches, statistics, severalHosts]) {
    await step();
  }
  console.log('ok');
  process.exit(0);
}

setTimeout(() => { console.error('it hangs'); process.exit(1); }, PATIENCE_MILLISECONDS).unref();
main().catch((error) => { console.error(error); process.exit(1); });
