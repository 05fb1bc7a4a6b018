import tests.faults.test_faults_throttling as t
orig=t.outage
async def outage(mk, made, **kw):
    box=[]
    def mk2(**s):
        e=mk(**s); box.append(e); return e
    try: await orig(mk2, made, **kw)
    finally: print("EXTRA", kw, box[0].requests-kw["batches"])
t.outage=outage
from tests.faults.test_faults_throttling import *
