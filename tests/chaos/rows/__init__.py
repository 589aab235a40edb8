"""The rows of the table, in its order."""

from tests.chaos.rows.commits import COMMITS
from tests.chaos.rows.crowd import CROWD
from tests.chaos.rows.cuts import CUTS
from tests.chaos.rows.kills import KILLS
from tests.chaos.rows.malformed import MALFORMED
from tests.chaos.rows.points import POINTS
from tests.chaos.rows.postgres import POSTGRES
from tests.chaos.rows.redis import REDIS
from tests.chaos.rows.rolling import ROLLING
from tests.chaos.rows.slow import SLOW
from tests.chaos.rows.stampede import STAMPEDE
from tests.chaos.rows.zombies import ZOMBIES
from tests.chaos.table import Row

ROWS: list[Row] = [CUTS, KILLS, ZOMBIES, POINTS, REDIS, POSTGRES, COMMITS, ROLLING, CROWD, STAMPEDE, SLOW, MALFORMED]
