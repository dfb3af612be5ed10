/** The page: takes over what the server has rendered, and goes on live from the cursor of its snapshot. */

import { hydrateRoot } from 'react-dom/client';
import { GatewayClient } from 'gathering-gateway';
import { App } from './board.js';

const { url, initial } = JSON.parse(document.getElementById('snapshot')!.textContent!);
const client = new GatewayClient({ url, token: async () => (await fetch('/my/gateway-token')).text() });

hydrateRoot(document.getElementById('root')!, <App client={client} initial={initial} />);
