/** The page: takes over what the server has rendered, and goes on live from the cursor of its snapshot. */

import { hydrateRoot } from 'react-dom/client';
import { connect } from 'gathering-gateway';
import { Board, TaskStore, type Events } from './board.js';

const { url, cursor, items } = JSON.parse(document.getElementById('snapshot')!.textContent!);
const store = new TaskStore(items);

connect<Events>({
  url,
  token: async () => (await fetch('/my/gateway-token')).text(),
  rooms: ['circle:7'],
  since: cursor,
  onEvent: (event) => store.apply(event),
  onGap: () => location.reload(), // rendered by the server again
});
hydrateRoot(document.getElementById('root')!, <Board store={store} />);
